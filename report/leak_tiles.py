"""Small pictures of a query, its match and their difference, to be coloured by the page.

Axes: C channels, H rows, W columns, S sides of a square.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from report.html_page import webp_uri
from report.pictures import stretched

# Multiples of 16, on which WebP's blocks end: so tiles of one sheet do not leak into another.
TILE_SIDES_PX = (96, 80, 64, 48, 32)
PAGE_BYTES = 40e6
BYTES_PER_PIXEL = 0.19  # in base64 at QUALITY, of fields in fluorescence: 0.12 to 0.22
DIFFERENCE_BYTES = 1200
QUALITY = 40
WHITE_DIFFERENCE = 2.0  # standard deviations


def tile_side_px(claims: int, channels: int) -> int:
    """The largest tile with which the pictures of so many claims stay below PAGE_BYTES."""
    for side in TILE_SIDES_PX:
        if claims * (2 * channels * side**2 * BYTES_PER_PIXEL + DIFFERENCE_BYTES) <= PAGE_BYTES:
            return side
    return TILE_SIDES_PX[-1]


def sheet_uri(query: NDArray[np.uint8], match: NDArray[np.uint8], side_px: int) -> str:
    """All channels of two fields C x H x W, gray, side by side: above the query, below its match.

    Channels are stretched one by one, as `to_rgb` does it.
    """
    above_below = [np.hstack(list(_tiles(field, side_px))) for field in (query, match)]
    return webp_uri(np.vstack(above_below), quality=QUALITY)


def difference_uri(difference_SS: NDArray[np.float32]) -> str:
    """Black where equal, white from WHITE_DIFFERENCE on, clear where it is NaN."""
    clear = np.isnan(difference_SS)
    gray = _bytes(np.where(clear, 0, difference_SS / WHITE_DIFFERENCE))
    opacity = np.where(clear, 0, 255).astype(np.uint8)
    return webp_uri(np.dstack([gray, gray, gray, opacity]), quality=QUALITY)


def _tiles(field: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    how = cv2.INTER_AREA if field.shape[1] > side_px else cv2.INTER_CUBIC
    planes = [cv2.resize(plane, (side_px, side_px), interpolation=how) for plane in field]
    return _bytes(stretched(np.stack(planes)))


def _bytes(shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
