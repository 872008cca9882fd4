"""A field of cells as geometry, and the strokes that every stain is drawn with.

Legend: K cells, P outline points, N points or curves, S side of the canvas in px; lengths called
`radii` are multiples of the field's cell radius, so that a pattern looks alike at every size.
"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Map: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ProteinStyle:
    """What the fields of one antibody share in green; factors are around 1."""

    dot_radius: float
    dot_number: float
    spread: float  # exponent: below 1 towards the cell's edge, above 1 towards the nucleus
    clumping: float  # 0 scattered .. 1 all dots of a cell in few clumps
    length: float
    width: float
    grain: float
    unevenness: float  # depth of the clouds in a filled compartment
    haze: float  # stain that sticks to every cell's body


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One field's geometry on the canvas; points are (x, y) in canvas px, distances in radii."""

    radius_px: float
    centres_K2: Points
    angles_K: Points
    nuclei_KP2: Points
    bodies_KP2: Points
    mtoc_K2: Points
    cell_of: NDArray[np.uint8]  # 0 is no cell, k + 1 the k-th
    nucleus: Map
    body: Map
    inside_nucleus: Map
    outside_nucleus: Map
    to_edge: Map
    nucleoli: Map
    nucleoli_N2: Points
    fibres: Map
    fibre_ends_N2: Points

    @property
    def cytoplasm(self) -> Map:
        return self.body * (1 - self.nucleus)

    @property
    def faint(self) -> Map:
        """What sticks to a whole cell: dim, and thinner where the cell is flat."""
        thickness = np.minimum(self.to_edge * np.float32(0.2), np.float32(0.1))
        return np.asarray(self.body * thickness, dtype=np.float32)


def clouds(rng: np.random.Generator, side_px: int, grain: float, depth: float) -> Map:
    """Smooth positive noise around 1 of shape (S, S), with `grain` clouds across the field."""
    cells = max(2, round(grain))
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    smooth = cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.maximum(1 + depth * smooth, 0), dtype=np.float32)


def spots(scene: Scene, points_N2: Points, radius: float) -> Map:
    """Soft discs of `radius` radii, 1 in their middles; where they meet they saturate."""
    side = len(scene.body)
    sigma = max(radius * scene.radius_px, 0.7)
    columns, rows = np.rint(points_N2).astype(np.intp).T
    seen = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    counts = np.bincount(rows[seen] * side + columns[seen], minlength=side * side)
    canvas = counts.reshape(side, side).astype(np.float32)
    soft = cv2.GaussianBlur(canvas, (0, 0), sigma) * np.float32(2 * np.pi * sigma**2)
    return np.asarray(np.minimum(soft, 1.5), dtype=np.float32)


def strokes(scene: Scene, curves_NP2: Points, width: float = 0.0) -> Map:
    """Antialiased polylines of three brightnesses, at least 1 canvas px wide, inside the bodies."""
    canvas = np.zeros(scene.body.shape, np.uint8)
    thickness = max(1, round(width * scene.radius_px))
    fixed_point = np.rint(curves_NP2 * 16).astype(np.int32)
    for turn, brightness in enumerate((110, 180, 255)):
        curves = list(fixed_point[turn::3])
        cv2.polylines(canvas, curves, False, brightness, thickness, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) * (scene.body / np.float32(255))


def points_between(
    inner_KP2: Points,
    outer_KP2: Points,
    number: float,
    style: ProteinStyle,
    rng: np.random.Generator,
) -> Points:
    """About `number` points a cell between two outlines of equal angles; (N, 2) canvas px."""
    cells, outline = outer_KP2.shape[:2]
    each = max(1, round(number))
    angle = rng.integers(outline, size=(cells, each))
    depth = rng.random((cells, each)) ** style.spread
    leader = rng.integers(min(each, 3), size=(cells, each))
    follows = rng.random((cells, each)) < style.clumping
    angle = np.where(follows, np.take_along_axis(angle, leader, 1), angle)
    depth = np.where(follows, np.take_along_axis(depth, leader, 1), depth)
    angle = (angle + follows * rng.integers(-1, 2, size=angle.shape)) % outline
    depth = np.clip(depth + follows * rng.normal(0, 0.12, depth.shape), 0, 1)[..., None]
    row = np.arange(cells)[:, None]
    places = (1 - depth) * inner_KP2[row, angle] + depth * outer_KP2[row, angle]
    return np.asarray(places.reshape(-1, 2))


def worms(
    scene: Scene, starts_N2: Points, length: float, curl: float, rng: np.random.Generator
) -> Points:
    """Wandering curves of `length` radii from the given points; (N, 6, 2)."""
    heading = rng.uniform(0, 2 * np.pi, (len(starts_N2), 1))
    heading = heading + np.cumsum(rng.normal(0, curl, (len(starts_N2), 5)), axis=1)
    step = length * scene.radius_px / 5
    moves = step * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    return (
        np.concatenate([np.zeros((len(starts_N2), 1, 2)), moves], 1).cumsum(1) + starts_N2[:, None]
    )
