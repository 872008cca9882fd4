"""Pictures of images for people: colours, and pictures inside pages.

Axes: C channels, H rows, W columns.
"""

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.dataset.hpa import DISPLAY_COLOURS

GRAY = (1.0, 1.0, 1.0)

Rgb = NDArray[np.float32]


def stretched(
    field: NDArray[np.uint8], *, as_of: NDArray[np.uint8] | None = None
) -> NDArray[np.float32]:
    """Divide each channel by its 99.8th percentile, C x H x W.

    White is then 1, and few pixels exceed it. Fluorescence is dim, so this is for viewing only. No
    number is ever computed from it.

    Args:
        field: The image.
        as_of: Another image whose percentiles are used, so that brightness can be compared with it.
    """
    white_C = np.maximum(np.percentile(field if as_of is None else as_of, 99.8, axis=(1, 2)), 1.0)
    return field.astype(np.float32) / white_C.astype(np.float32)[:, None, None]


def colour_of(channel: str) -> tuple[float, float, float]:
    """Return the colour of a channel as weights of red, green and blue. Other channels are gray."""
    return DISPLAY_COLOURS.get(channel, GRAY)


def to_rgb(
    field: NDArray[np.uint8], channels: Sequence[str], *, as_of: NDArray[np.uint8] | None = None
) -> Rgb:
    """Return an image as H x W x 3 from 0 to 1, with every channel stretched and in its colour."""
    rgb = np.zeros((*field.shape[1:], 3), np.float32)
    for plane, channel in zip(stretched(field, as_of=as_of), channels, strict=True):
        rgb += plane[:, :, None] * np.array(colour_of(channel), np.float32)
    return np.clip(rgb, 0.0, 1.0)


def data_uri(media_type: str, content: bytes) -> str:
    """Return the content of a file as an address for a picture inside a page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def webp(pixels: NDArray[np.uint8], *, quality: int) -> bytes:
    """Return a picture as a WebP file.

    Args:
        pixels: The picture, H x W, H x W x 3, or H x W x 4, where the last plane is opacity.
        quality: The quality from 1 to 100.
    """
    if pixels.ndim == 3:  # OpenCV orders colours as blue, green, red
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    return cv2.imencode(".webp", np.ascontiguousarray(pixels), options)[1].tobytes()


def webp_uri(pixels: NDArray[np.uint8], *, quality: int) -> str:
    """Return a picture as the address of a WebP picture, see `webp`."""
    return data_uri("image/webp", webp(pixels, quality=quality))


def to_bytes(shares: NDArray[Any]) -> NDArray[np.uint8]:
    """Return shares from 0 to 1 as 0 to 255. Values outside are clipped."""
    return np.asarray(np.rint(np.clip(shares, 0, 1) * 255), np.uint8)
