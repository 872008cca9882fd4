"""A leak run as one page: counts, thresholds, plots, and every claim with its pictures.

The page holds small pictures of a query, its match and their difference, and colours them itself.
Axes: C channels, H rows, W columns, S sides of a square.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from numpy.typing import NDArray

from atlas.report.pages import save_page
from atlas.report.pictures import colour_of, data_uri, stretched, to_bytes, webp_uri

# Multiples of 16, on which WebP's blocks end: so tiles of one sheet do not leak into another.
TILE_SIDES_PX = (96, 80, 64, 48, 32)
PAGE_BYTES = 40e6
BYTES_PER_PIXEL = 0.19  # in base64 at QUALITY, of fields in fluorescence: 0.12 to 0.22
DIFFERENCE_BYTES = 1200
QUALITY = 40
WHITE_DIFFERENCE = 2.0  # standard deviations


@dataclass(frozen=True, kw_only=True)
class Relation:
    """What is claimed of one relation. threshold: None where nothing can be; said: what it rests on."""

    name: str
    claims: int
    transfers: int
    threshold: float | None
    said: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A test image and its best match.

    registration score: None for siblings. labels: of the match, by number; before: what the image is
    labelled as without the transfer, None where nothing was submitted yet.
    sheet, difference: data URIs by `leak_tiles`. laid_23: affine map from the query to the match,
    both of side 1, row by row.
    """

    id: str
    match_id: str
    relation: str
    similarity: float
    registration_score: float | None
    confidence: float
    labels: tuple[int, ...]
    decision: str
    reason: str
    sheet: str
    difference: str
    laid_23: tuple[float, ...]
    before: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class LeakPage:
    """plots: PNG files by what is said of them. labels: names. tile_px: side of the pictures."""

    title: str
    test_images: int
    relations: Sequence[Relation]
    plots: dict[str, Path]
    channels: Sequence[str]
    labels: Sequence[str]
    tile_px: int
    claims: Sequence[Claim]


def save_leak_page(path: Path, page: LeakPage) -> None:
    """HTML with all pictures inside; sorted and filtered by its own script, without a network.

    The claims are listed as they come; whatever they are sorted by later, ties keep this order.
    """
    save_page(
        path,
        "leak_page.html",
        page=page,
        transfers=sum(relation.transfers for relation in page.relations),
        plots={said: data_uri("image/png", file.read_bytes()) for said, file in page.plots.items()},
        data={
            "channels": [{"name": name, "colour": _css(name)} for name in page.channels],
            "labels": list(page.labels),
            "tile": page.tile_px,
            "rows": [asdict(claim) for claim in page.claims],
        },
    )


def with_labels_before(page: str, labels: Mapping[str, tuple[int, ...]]) -> str:
    """Return a page of `save_leak_page` with the labels before the transfer, by image id."""

    def filled(found: re.Match[str]) -> str:
        data = json.loads(found[2])
        for row in data["rows"]:
            row["before"] = labels.get(row["id"])
        return f"{found[1]}{htmlsafe_json_dumps(data, sort_keys=True)}{found[3]}"

    return re.sub(r'(<script [^>]*id="data">)(.*?)(</script>)', filled, page, flags=re.DOTALL)


def _css(channel: str) -> str:
    return "rgb({:.0%} {:.0%} {:.0%})".format(*colour_of(channel))


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
    gray = to_bytes(np.where(clear, 0, difference_SS / WHITE_DIFFERENCE))
    opacity = np.where(clear, 0, 255).astype(np.uint8)
    return webp_uri(np.dstack([gray, gray, gray, opacity]), quality=QUALITY)


def _tiles(field: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    how = cv2.INTER_AREA if field.shape[1] > side_px else cv2.INTER_CUBIC
    planes = [cv2.resize(plane, (side_px, side_px), interpolation=how) for plane in field]
    return to_bytes(stretched(np.stack(planes)))
