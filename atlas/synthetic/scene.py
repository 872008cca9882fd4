"""The geometry of an image of cells: the places of its cells, and the strokes of all stains.

Legend: K cells, P outline points, F fibres a cell, N points or curves, S side of the canvas in px.
Lengths called `radii` are multiples of the cell radius of the image, so a pattern looks the same at
every size.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Map: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]

OUTLINE = 24
MAX_CELLS = 40


@dataclass(frozen=True, kw_only=True)
class CellStyle:
    """The cell line and the staining, which images of one antibody share in all stains but green.

    Radii are shares of the side of the image. A ratio is the long axis over the short axis.
    """

    radius: float
    nucleus_share: float
    nucleus_ratio: float
    body_ratio: float
    raggedness: float
    crowding: float
    chromatin_grain: float
    nucleoli: float
    fibres: float
    fibre_curl: float
    er_reach: float
    er_grain: float
    gains_4: tuple[float, float, float, float]
    protein_variation: float


@dataclass(frozen=True, kw_only=True)
class ProteinStyle:
    """The style of the green stain, which images of one antibody share. Factors are around 1."""

    dot_radius: float
    dot_number: float
    spread: float  # exponent: below 1, dots move to the cell's edge; above 1, to the nucleus
    clumping: float  # from 0, scattered dots, to 1, all dots of a cell in a few clumps
    length: float
    width: float
    grain: float
    unevenness: float  # depth of the clouds in a filled compartment
    haze: float  # stain that sticks to every cell's body


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The geometry of an image. Points are (x, y) in px of the canvas, distances are in radii."""

    radius_px: float
    centres_K2: Points
    angles_K: Points
    nuclei_KP2: Points
    bodies_KP2: Points
    mtoc_K2: Points
    cell_of: NDArray[np.uint8]  # 0 is background, k + 1 is the k-th cell
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
        """The bodies of the cells without their nuclei."""
        return self.body * (1 - self.nucleus)

    @property
    def faint(self) -> Map:
        """A dim stain of whole cells, which is weaker where a cell is flat."""
        thickness = np.minimum(self.to_edge * np.float32(0.2), np.float32(0.1))
        return np.asarray(self.body * thickness, dtype=np.float32)


def lay_out(style: CellStyle, rng: np.random.Generator, side_px: int) -> Scene:
    """Place the cells of an image, and draw the maps that all stains share."""
    radius_px = style.radius * side_px * float(np.exp(rng.normal(0, 0.04)))
    centres = _places(style, rng, radius_px / side_px) * side_px
    cells, angles = len(centres), rng.uniform(0, np.pi, len(centres))
    sizes = radius_px * np.exp(rng.normal(0, 0.12, cells))
    bodies = _outlines(centres, sizes, angles, style.body_ratio, style.raggedness, rng)
    inner = sizes * style.nucleus_share * np.exp(rng.normal(0, 0.08, cells))
    nuclei = _outlines(centres, inner, angles, style.nucleus_ratio, 0.035, rng)
    cell_of, nucleus_of = _painted(bodies, nuclei, side_px)
    mtoc = nuclei[np.arange(cells), rng.integers(OUTLINE, size=cells)]
    mtoc = centres + (mtoc - centres) * 1.25
    fibres = _fibres(style, nuclei, bodies, mtoc, rng)
    bare = Scene(
        radius_px=radius_px,
        centres_K2=centres,
        angles_K=angles,
        nuclei_KP2=nuclei,
        bodies_KP2=bodies,
        mtoc_K2=mtoc,
        cell_of=cell_of,
        nucleus=(nucleus_of > 0).astype(np.float32),
        body=(cell_of > 0).astype(np.float32),
        inside_nucleus=_depth(nucleus_of, radius_px),
        outside_nucleus=_depth((nucleus_of == 0).astype(np.uint8), radius_px),
        to_edge=_depth(_without_borders(cell_of), radius_px),
        nucleoli=np.zeros(cell_of.shape, np.float32),
        nucleoli_N2=_nucleoli(style, centres, nuclei, rng),
        fibres=np.zeros(cell_of.shape, np.float32),
        fibre_ends_N2=fibres[:, -1],
    )
    return _with_maps(bare, fibres)


def clouds(rng: np.random.Generator, side_px: int, grain: float, depth: float) -> Map:
    """Return smooth positive noise around 1, S x S, with `grain` clouds across the image."""
    cells = max(2, round(grain))
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    smooth = cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.maximum(1 + depth * smooth, 0), dtype=np.float32)


def spots(scene: Scene, points_N2: Points, radius: float) -> Map:
    """Draw soft discs of `radius` radii, which are 1 in the middle. Overlapping discs saturate."""
    side = len(scene.body)
    sigma = max(radius * scene.radius_px, 0.7)
    columns, rows = np.rint(points_N2).astype(np.intp).T
    seen = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    counts = np.bincount(rows[seen] * side + columns[seen], minlength=side * side)
    canvas = counts.reshape(side, side).astype(np.float32)
    soft = cv2.GaussianBlur(canvas, (0, 0), sigma) * np.float32(2 * np.pi * sigma**2)
    return np.asarray(np.minimum(soft, 1.5), dtype=np.float32)


def strokes(scene: Scene, curves_NP2: Points, width: float = 0.0) -> Map:
    """Draw antialiased polylines of three brightnesses inside the bodies, at least 1 px wide."""
    canvas = np.zeros(scene.body.shape, np.uint8)
    thickness = max(1, round(width * scene.radius_px))
    fixed_point = np.rint(curves_NP2 * 16).astype(np.int32)
    for first, brightness in enumerate((110, 180, 255)):
        curves = list(fixed_point[first::3])
        cv2.polylines(canvas, curves, False, brightness, thickness, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) * (scene.body / np.float32(255))


def points_between(
    inner_KP2: Points,
    outer_KP2: Points,
    number: float,
    style: ProteinStyle,
    rng: np.random.Generator,
) -> Points:
    """Draw about `number` points per cell between two outlines with equal angles, N x 2 in px."""
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
    """Draw winding curves of `length` radii from the given points, N x 6 x 2."""
    heading = rng.uniform(0, 2 * np.pi, (len(starts_N2), 1))
    heading = heading + np.cumsum(rng.normal(0, curl, (len(starts_N2), 5)), axis=1)
    step = length * scene.radius_px / 5
    moves = step * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    return (
        np.concatenate([np.zeros((len(starts_N2), 1, 2)), moves], 1).cumsum(1) + starts_N2[:, None]
    )


def _with_maps(scene: Scene, fibres_NP2: Points) -> Scene:
    spotted = np.minimum(spots(scene, scene.nucleoli_N2, 0.075), 1) * scene.nucleus
    return replace(scene, nucleoli=spotted, fibres=strokes(scene, fibres_NP2, 0.016))


def _places(style: CellStyle, rng: np.random.Generator, radius: float) -> Points:
    """Draw centres on a jittered, rotated hexagonal grid that is thinned in colonies.

    The image is 0 to 1 along both axes.
    """
    pitch = 1.75 * radius
    steps = np.arange(-np.ceil(0.95 / pitch), np.ceil(0.95 / pitch) + 1)
    x, y = np.meshgrid(steps, steps)
    grid = np.stack([(x + 0.5 * (y % 2)).ravel(), (y * 0.866).ravel()], 1) * pitch
    rotation = rng.uniform(0, np.pi)
    grid = grid @ np.array(
        [[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]]
    )
    points = (
        0.5 + grid + rng.uniform(-0.5, 0.5, 2) * pitch + rng.normal(0, 0.13 * pitch, grid.shape)
    )
    points = points[(np.abs(points - 0.5) < 0.5 + 0.7 * radius).all(axis=1)]
    wave = np.sin(points @ rng.normal(0, 5.0, 2) + rng.uniform(0, 2 * np.pi))
    lonely = wave + rng.normal(0, 1.2, len(points))
    share = min(1.0, style.crowding * float(np.exp(rng.normal(0, 0.1))))
    kept = int(np.clip(round(share * len(points)), min(3, len(points)), MAX_CELLS))
    return np.asarray(points[np.argsort(lonely)[:kept]])


def _outlines(
    centres_K2: Points,
    radii_K: Points,
    angles_K: Points,
    ratio: float,
    raggedness: float,
    rng: np.random.Generator,
) -> Points:
    """Draw star-shaped outlines, K x P x 2: ellipses of equal area with a few low harmonics."""
    rotation = np.linspace(0, 2 * np.pi, OUTLINE, endpoint=False)[None]
    ratios = ratio * np.exp(rng.normal(0, 0.1, (len(centres_K2), 1)))
    relative = rotation - angles_K[:, None]
    radius = 1 / np.sqrt(ratios * np.sin(relative) ** 2 + np.cos(relative) ** 2 / ratios)
    order = np.arange(2, 6)[:, None, None]
    height = rng.normal(0, raggedness, (4, len(centres_K2), 1)) / np.sqrt(order - 1)
    phase = rng.uniform(0, 2 * np.pi, height.shape)
    waves = (height * np.cos(order * rotation[None] + phase)).sum(axis=0)
    radius = radii_K[:, None] * radius * np.clip(1 + waves, 0.55, 1.6)
    unit = np.stack([np.cos(rotation), np.sin(rotation)], -1)
    return np.asarray(centres_K2[:, None] + radius[..., None] * unit)


def _painted(
    bodies_KP2: Points, nuclei_KP2: Points, side_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the number (k + 1) of the cell at each px, for its body and for its nucleus.

    0 is none.
    """
    cell_of = np.zeros((side_px, side_px), np.uint8)
    nucleus_of = np.zeros((side_px, side_px), np.uint8)
    for number, body in enumerate(np.rint(bodies_KP2).astype(np.int32), start=1):
        cv2.fillPoly(cell_of, [body], number)
    for number, nucleus in enumerate(np.rint(nuclei_KP2).astype(np.int32), start=1):
        cv2.fillPoly(cell_of, [nucleus], number)
        cv2.fillPoly(nucleus_of, [nucleus], number)
    return cell_of, nucleus_of


def _without_borders(cell_of: NDArray[np.uint8]) -> NDArray[np.uint8]:
    changes = cv2.morphologyEx(cell_of, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.where(changes > 0, 0, cell_of).astype(np.uint8)


def _depth(inside: NDArray[np.uint8], radius_px: float) -> Map:
    """Return the distance to the nearest zero in radii."""
    return (cv2.distanceTransform(inside, cv2.DIST_L2, 3) / np.float32(radius_px)).astype(
        np.float32
    )


def _fibres(
    style: CellStyle,
    nuclei_KP2: Points,
    bodies_KP2: Points,
    mtoc_K2: Points,
    rng: np.random.Generator,
) -> Points:
    """Draw bent fibres from the nucleus to the cell's edge: quadratic Bezier curves, N x 7 x 2."""
    cells, each = len(nuclei_KP2), round(style.fibres)
    row, ends = np.arange(cells)[:, None], rng.integers(OUTLINE, size=(cells, each))
    twist = rng.integers(-5, 6, size=ends.shape)
    rim = nuclei_KP2[row, (ends + twist) % OUTLINE]
    start = mtoc_K2[:, None] + rng.uniform(0.3, 1.0, (cells, each, 1)) * (rim - mtoc_K2[:, None])
    end = rim + rng.uniform(0.5, 1.05, (cells, each, 1)) * (bodies_KP2[row, ends] - rim)
    across = np.stack([start[..., 1] - end[..., 1], end[..., 0] - start[..., 0]], -1)
    bend = (start + end) / 2 + across * rng.normal(0, style.fibre_curl, (cells, each, 1))
    t = np.linspace(0, 1, 7)[None, None, :, None]
    curves = (
        (1 - t) ** 2 * start[:, :, None]
        + 2 * t * (1 - t) * bend[:, :, None]
        + t**2 * end[:, :, None]
    )
    return np.asarray(curves.reshape(-1, 7, 2))


def _nucleoli(
    style: CellStyle, centres_K2: Points, nuclei_KP2: Points, rng: np.random.Generator
) -> Points:
    each = max(1, round(style.nucleoli))
    angle = rng.integers(OUTLINE, size=(len(centres_K2), each))
    rim = nuclei_KP2[np.arange(len(centres_K2))[:, None], angle]
    share = rng.uniform(0.1, 0.65, (*angle.shape, 1))
    return np.asarray((centres_K2[:, None] * (1 - share) + rim * share).reshape(-1, 2))
