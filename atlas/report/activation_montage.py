"""Images beside what a network looked at in them. Axes: C channels, H rows, W columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from atlas.report.pictures import pair_grid, save_figure, shortened, to_rgb

Truth = Literal["right", "wrong", "unknown"]
COLOURS: dict[Truth, str] = {"right": "green", "wrong": "firebrick", "unknown": "black"}
HEAT = colormaps["inferno"]
MOST_OPAQUE = 0.75  # of the heat, so that cells show through the maximum
DIMMED = 0.6  # of the gray image below it


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """One image for one label.

    field_CHW: uint8. map_HW: 0..1. boxes: x0, y0, x1, y1 in px, x1 and y1 exclusive. truth: whether
    the image carries the label.
    """

    image_id: str
    field_CHW: NDArray[np.uint8]
    map_HW: NDArray[np.float32]
    boxes: Sequence[tuple[int, int, int, int]]
    probability: float
    truth: Truth


def save_montage(
    path: Path, looked_at: Sequence[LookedAt], *, channels: Sequence[str], title: str
) -> None:
    """At least one; each image with its map to the right of it, in the order given."""
    figure, places = pair_grid(len(looked_at), title=title)
    for one, (left, right) in zip(looked_at, places, strict=True):
        picture = to_rgb(one.field_CHW, channels)
        left.imshow(picture, interpolation="nearest")
        left.set_title(f"{shortened(one.image_id, 24)}\n{one.probability:.3f}", fontsize=7)
        right.imshow(heated(picture, one.map_HW), interpolation="nearest")
        said = one.truth if one.map_HW.any() else f"{one.truth}; nothing speaks for it"
        right.set_title(f"{said}\n", fontsize=7, color=COLOURS[one.truth])
        for x0, y0, x1, y1 in one.boxes:  # pixel n reaches from n - .5 to n + .5
            corner = (x0 - 0.5, y0 - 0.5)
            right.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, ec="cyan", lw=0.8))
    save_figure(path, figure)


def heated(picture_HW3: NDArray[np.float32], map_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture in 0..1, gray and dimmed, below the heat of its map."""
    gray_HW1 = DIMMED * picture_HW3.max(axis=2, keepdims=True)
    opacity_HW1 = MOST_OPAQUE * map_HW[:, :, None]
    heat_HW3 = HEAT(map_HW)[:, :, :3]
    return np.asarray((1 - opacity_HW1) * gray_HW1 + opacity_HW1 * heat_HW3, np.float32)
