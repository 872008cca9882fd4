"""Pairs of pictures: an image beside its activation map, or a query beside a wrong neighbour.

Axes: C channels, H rows, W columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from atlas.report.figures import panels, save_figure, shortened
from atlas.report.pictures import Rgb, to_rgb

PAIRS_ACROSS = 3
TILE_INCHES = 2.0
GAP = 0.12  # between pairs, as a share of a picture's width

Truth = Literal["right", "wrong", "unknown"]
COLOURS: dict[Truth, str] = {"right": "green", "wrong": "firebrick", "unknown": "black"}
HEAT = colormaps["inferno"]
MOST_OPAQUE = 0.75  # the greatest opacity of a map, so that cells stay visible below it
DIMMED = 0.6  # the brightness of the gray image below a map


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """The activation map of an image for one label.

    Attributes:
        image_id: The id of the image.
        field_CHW: The image, uint8.
        map_HW: The map from 0 to 1.
        boxes: Boxes (x0, y0, x1, y1) in px, where x1 and y1 are exclusive.
        probability: The probability of the label.
        truth: Whether the image has the label.
    """

    image_id: str
    field_CHW: NDArray[np.uint8]
    map_HW: NDArray[np.float32]
    boxes: Sequence[tuple[int, int, int, int]]
    probability: float
    truth: Truth


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A query and a wrong neighbour: pictures H x W x 3 from 0 to 1, ids and classes as shown."""

    query: Rgb
    query_id: str
    query_class: str
    nearest: Rgb
    nearest_id: str
    nearest_class: str
    similarity: float


def save_montage(
    path: Path, looked_at: Sequence[LookedAt], *, channels: Sequence[str], title: str
) -> None:
    """Save images in the given order, each with its map on the right.

    There must be at least one.
    """
    figure, places = _pair_grid(len(looked_at), title=title)
    for one, (left, right) in zip(looked_at, places, strict=True):
        picture = to_rgb(one.field_CHW, channels)
        _draw(left, picture, f"{shortened(one.image_id, 24)}\n{one.probability:.3f}")
        said = one.truth if one.map_HW.any() else f"{one.truth}; no activation"
        _draw(right, heated(picture, one.map_HW), f"{said}\n", colour=COLOURS[one.truth])
        for x0, y0, x1, y1 in one.boxes:  # pixel n covers n - 0.5 to n + 0.5
            corner = (x0 - 0.5, y0 - 0.5)
            right.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, ec="cyan", lw=0.8))
    save_figure(path, figure)


def heated(picture_HW3: Rgb, map_HW: NDArray[np.float32]) -> Rgb:
    """Return a picture in dimmed gray below its map, both from 0 to 1."""
    gray_HW1 = DIMMED * picture_HW3.max(axis=2, keepdims=True)
    opacity_HW1 = MOST_OPAQUE * map_HW[:, :, None]
    heat_HW3 = HEAT(map_HW)[:, :, :3]
    return np.asarray((1 - opacity_HW1) * gray_HW1 + opacity_HW1 * heat_HW3, np.float32)


def save_confusions(path: Path, confusions: Sequence[Confusion], *, title: str) -> None:
    """Save queries in the given order, each with its nearest image on the right.

    Give at least one.
    """
    figure, places = _pair_grid(len(confusions), title=title)
    for one, (left, right) in zip(confusions, places, strict=True):
        query, nearest = f"query {one.query_id}", f"{one.similarity:.3f} {one.nearest_id}"
        _draw(left, one.query, f"{shortened(query)}\n{shortened(one.query_class)}")
        _draw(right, one.nearest, f"{shortened(nearest)}\n{shortened(one.nearest_class)}")
    save_figure(path, figure)


def _pair_grid(pairs: int, *, title: str) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Return a figure, and the left and right axes of each pair.

    There must be at least one pair.
    """
    down = -(-pairs // PAIRS_ACROSS)
    size_inches = (TILE_INCHES * (2 + GAP) * PAIRS_ACROSS, (TILE_INCHES + 0.4) * down + 0.4)
    figure, axes = panels(
        down, 3 * PAIRS_ACROSS, size_inches, width_ratios=[1, 1, GAP] * PAIRS_ACROSS
    )
    figure.suptitle(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, [(left, right) for left, right, _ in axes.reshape(-1, 3)[:pairs]]


def _draw(axis: Axes, picture: Rgb, title: str, *, colour: str = "black") -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(title, fontsize=7, color=colour)
