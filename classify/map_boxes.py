"""Boxes around the places that a map points at. Axes: H x W pixels, x to the right, y down."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Box:
    """Columns x0..x1 and rows y0..y1 in px, x1 and y1 exclusive.

    peak: the highest value in it, as a share of the map's maximum. mass: the share of the map's sum
    that lies on its place, not on the corners around that.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    peak: float
    mass: float


def boxes_of(map_HW: NDArray[np.float32], *, share: float, least_area: float) -> list[Box]:
    """A box for each place where the map reaches `share` of its maximum, the highest peak first.

    Pixels that touch, by a corner too, are one place. least_area: smaller ones, as shares of the
    image, are left out, but for the one with the maximum. An empty map has none.
    """
    highest = float(map_HW.max(initial=0))
    if highest <= 0:
        return []
    bright = (map_HW >= share * highest).astype(np.uint8)
    count, place_of, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    total = float(map_HW.sum(dtype=np.float64))
    boxes = []
    for place in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[place])
        values = map_HW[place_of == place].astype(np.float64)
        peak = float(values.max()) / highest
        if area >= least_area * map_HW.size or peak == 1:
            edges = {"x0": x, "y0": y, "x1": x + width, "y1": y + height}
            boxes.append(Box(**edges, peak=peak, mass=float(values.sum()) / total))
    return sorted(boxes, key=lambda box: (-box.peak, -box.mass, box.y0, box.x0))
