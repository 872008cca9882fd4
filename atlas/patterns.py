"""The 28 places of a protein, drawn into a field of cells.

Legend: K cells, P outline points, N points or curves, S side of the canvas in px; lengths called
`radii` are multiples of the field's cell radius, so that a pattern looks alike at every size.
Each pattern takes (scene, style, rng) and returns float32 (S, S), about 1 where it is bright.
"""

from collections.abc import Callable
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


Pattern: TypeAlias = Callable[[Scene, ProteinStyle, np.random.Generator], Map]


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


def _in_nuclei(
    scene: Scene, style: ProteinStyle, number: float, rng: np.random.Generator
) -> Points:
    middle = np.broadcast_to(scene.centres_K2[:, None], scene.nuclei_KP2.shape)
    rim = middle + 0.85 * (scene.nuclei_KP2 - middle)
    return points_between(middle, rim, number * style.dot_number, style, rng)


def _in_cytoplasm(
    scene: Scene, style: ProteinStyle, number: float, rng: np.random.Generator, reach: float = 0.92
) -> Points:
    rim = scene.nuclei_KP2 + reach * (scene.bodies_KP2 - scene.nuclei_KP2)
    return points_between(scene.nuclei_KP2, rim, number * style.dot_number, style, rng)


def _beside_nucleus(
    scene: Scene, number: float, scatter: float, rng: np.random.Generator
) -> Points:
    shape = (len(scene.mtoc_K2), max(1, round(number)), 2)
    return (scene.mtoc_K2[:, None] + rng.normal(0, scatter * scene.radius_px, shape)).reshape(-1, 2)


def _textured(area: Map, style: ProteinStyle, rng: np.random.Generator) -> Map:
    texture = clouds(rng, len(area), 14 * style.grain, style.unevenness)
    return np.asarray(area * texture, dtype=np.float32)


def nucleoplasm(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    return _textured(scene.nucleus * (1 - 0.7 * scene.nucleoli), style, rng)


def nuclear_membrane(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    rim = np.exp(-scene.inside_nucleus / np.float32(0.07 * style.width)).astype(np.float32)
    return np.asarray(scene.nucleus * (1.4 * rim + np.float32(0.15)), dtype=np.float32)


def nucleoli(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    return scene.nucleus * (1.2 * scene.nucleoli + np.float32(style.unevenness * 0.4))


def fibrillar_center(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    near = np.repeat(scene.nucleoli_N2, max(1, round(2 * style.dot_number)), axis=0)
    near = near + rng.normal(0, 0.05 * style.length * scene.radius_px, near.shape)
    return scene.nucleus * (1.3 * spots(scene, near, 0.03 * style.dot_radius) + np.float32(0.12))


def nuclear_speckles(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    dots = spots(scene, _in_nuclei(scene, style, 16, rng), 0.05 * style.dot_radius)
    outside_nucleoli = scene.nucleus * (1 - 0.6 * scene.nucleoli)
    return np.asarray(outside_nucleoli * (dots + np.float32(0.2)), dtype=np.float32)


def nuclear_bodies(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    dots = spots(scene, _in_nuclei(scene, style, 4, rng), 0.055 * style.dot_radius)
    return scene.nucleus * (1.2 * dots + np.float32(0.1))


def endoplasmic_reticulum(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    decay = np.exp(-scene.outside_nucleus / np.float32(0.45 * style.length)).astype(np.float32)
    return _textured(scene.cytoplasm * decay * 1.2, style, rng)


def golgi(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    starts = _beside_nucleus(scene, 5 * style.dot_number, 0.14 * style.spread, rng)
    ribbons = strokes(
        scene, worms(scene, starts, 0.35 * style.length, 0.6, rng), 0.06 * style.width
    )
    return cv2.GaussianBlur(ribbons, (0, 0), 1.0).astype(np.float32) * (1 - 0.8 * scene.nucleus)


def peroxisomes(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    return spots(scene, _in_cytoplasm(scene, style, 30, rng), 0.028 * style.dot_radius)


def endosomes(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    return spots(scene, _in_cytoplasm(scene, style, 12, rng, reach=1.0), 0.05 * style.dot_radius)


def lysosomes(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    return spots(scene, _in_cytoplasm(scene, style, 14, rng, reach=0.5), 0.065 * style.dot_radius)


def intermediate_filaments(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    starts = _in_cytoplasm(scene, style, 9, rng, reach=0.5)
    tangle = strokes(scene, worms(scene, starts, 1.1 * style.length, 0.5, rng), 0.05 * style.width)
    return tangle * (1 - 0.7 * scene.nucleus)


def actin_filaments(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    middles = _in_cytoplasm(scene, style, 9, rng)
    owner = np.repeat(scene.angles_K, len(middles) // len(scene.angles_K))
    angle = owner + rng.normal(0, 0.15, len(middles))
    along = np.stack([np.cos(angle), np.sin(angle)], 1) * (0.5 * style.length * scene.radius_px)
    cables = strokes(scene, np.stack([middles - along, middles, middles + along], 1))
    return cables + 0.5 * plasma_membrane(scene, style, rng)


def focal_adhesions(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    cells, outline = scene.bodies_KP2.shape[:2]
    picked = rng.integers(outline, size=(cells, max(2, round(9 * style.dot_number))))
    rim = scene.bodies_KP2[np.arange(cells)[:, None], picked]
    inward = scene.centres_K2[:, None] - rim
    outer, inner = rim + 0.04 * inward, rim + (0.04 + 0.16 * style.length) * inward
    return strokes(scene, np.stack([outer, inner], 2).reshape(-1, 2, 2), 0.07 * style.width)


def microtubules(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    return _textured(scene.fibres * (1 - 0.6 * scene.nucleus), style, rng)


def microtubule_ends(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    return scene.body * spots(scene, scene.fibre_ends_N2, 0.035 * style.dot_radius)


def cytokinetic_bridge(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    apart = np.linalg.norm(scene.centres_K2[:, None] - scene.centres_K2[None], axis=2)
    mate = scene.centres_K2[np.argmin(apart + 1e9 * np.eye(len(apart)), axis=1)]
    middle, along = (scene.centres_K2 + mate) / 2, mate - scene.centres_K2
    along = along * (0.16 * style.length * scene.radius_px / np.linalg.norm(along, axis=1))[:, None]
    bars = strokes(scene, np.stack([middle - along, middle + along], 1), 0.1 * style.width)
    return 1.3 * bars + scene.faint


def mitotic_spindle(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    # Few cells divide at a time; the first one does, so that no field is without a spindle.
    divides = np.append(True, rng.random(len(scene.angles_K) - 1) < 0.3)
    axis_K2 = np.stack([np.cos(scene.angles_K), np.sin(scene.angles_K)], 1)[divides]
    across_K2 = np.stack([-axis_K2[:, 1], axis_K2[:, 0]], 1)
    bow = np.sin(np.linspace(0, np.pi, 7)) * scene.radius_px * 0.3 * style.width
    along = np.linspace(-0.45, 0.45, 7)[:, None] * scene.radius_px * style.length
    bulge = np.linspace(-1, 1, 9)[None, :, None, None] * bow[:, None] * across_K2[:, None, None]
    fans = scene.centres_K2[divides, None, None] + along * axis_K2[:, None, None] + bulge
    return strokes(scene, fans.reshape(-1, 7, 2)) + scene.faint


def organizing_center(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    near = _beside_nucleus(scene, 6 * style.dot_number, 0.08 * style.spread, rng)
    return spots(scene, near, 0.06 * style.dot_radius) + 0.15 * scene.cytoplasm


def centrosome(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    pair = _beside_nucleus(scene, 2, 0.05 * style.spread, rng)
    return 1.4 * spots(scene, pair, 0.04 * style.dot_radius) + scene.faint


def lipid_droplets(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    places = _in_cytoplasm(scene, style, 10, rng, reach=0.8)
    hollow = 0.8 * spots(scene, places, 0.04 * style.dot_radius)
    shells = np.maximum(spots(scene, places, 0.08 * style.dot_radius) - hollow, 0)
    return np.asarray(1.6 * shells, dtype=np.float32)


def plasma_membrane(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    rim = np.exp(-scene.to_edge / np.float32(0.06 * style.width)).astype(np.float32)
    return _textured(scene.body * rim * 1.4, style, rng)


def cell_junctions(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    reach = 2 * max(1, round(0.08 * scene.radius_px)) + 1
    kernel = np.ones((reach, reach), np.uint8)
    highest = cv2.dilate(scene.cell_of, kernel)
    lowest = cv2.erode(np.where(scene.cell_of == 0, 255, scene.cell_of).astype(np.uint8), kernel)
    touching = ((highest > lowest) & (scene.cell_of > 0)).astype(np.float32)
    return (touching + np.float32(0.15)) * plasma_membrane(scene, style, rng)


def mitochondria(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    starts = _in_cytoplasm(scene, style, 22, rng, reach=0.75)
    threads = strokes(scene, worms(scene, starts, 0.3 * style.length, 0.5, rng), 0.04 * style.width)
    return threads * (1 - 0.8 * scene.nucleus)


def aggresome(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    blob = spots(
        scene, _beside_nucleus(scene, 1, 0.06 * style.spread, rng), 0.13 * style.dot_radius
    )
    return scene.body * 1.3 * blob + scene.faint


def cytosol(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    thin_rim = np.minimum(scene.to_edge / np.float32(0.35 * style.spread), 1)
    return _textured(scene.cytoplasm * (0.3 + 0.7 * thin_rim), style, rng)


def cytoplasmic_bodies(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    dots = spots(scene, _in_cytoplasm(scene, style, 5, rng), 0.06 * style.dot_radius)
    return scene.body * 1.2 * dots + scene.faint


def rods_and_rings(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    places = _in_cytoplasm(scene, style, 2, rng, reach=0.8)
    rods = worms(scene, places, 0.4 * style.length, 0.05, rng)
    turn = np.linspace(0, 2 * np.pi, 9)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1) * (0.1 * style.dot_radius * scene.radius_px)
    rings = places[::2, None] + circle[None]
    return strokes(scene, rods, 0.05 * style.width) + strokes(scene, rings) + scene.faint


PATTERNS: dict[str, Pattern] = {
    "Nucleoplasm": nucleoplasm,
    "Nuclear membrane": nuclear_membrane,
    "Nucleoli": nucleoli,
    "Nucleoli fibrillar center": fibrillar_center,
    "Nuclear speckles": nuclear_speckles,
    "Nuclear bodies": nuclear_bodies,
    "Endoplasmic reticulum": endoplasmic_reticulum,
    "Golgi apparatus": golgi,
    "Peroxisomes": peroxisomes,
    "Endosomes": endosomes,
    "Lysosomes": lysosomes,
    "Intermediate filaments": intermediate_filaments,
    "Actin filaments": actin_filaments,
    "Focal adhesion sites": focal_adhesions,
    "Microtubules": microtubules,
    "Microtubule ends": microtubule_ends,
    "Cytokinetic bridge": cytokinetic_bridge,
    "Mitotic spindle": mitotic_spindle,
    "Microtubule organizing center": organizing_center,
    "Centrosome": centrosome,
    "Lipid droplets": lipid_droplets,
    "Plasma membrane": plasma_membrane,
    "Cell junctions": cell_junctions,
    "Mitochondria": mitochondria,
    "Aggresome": aggresome,
    "Cytosol": cytosol,
    "Cytoplasmic bodies": cytoplasmic_bodies,
    "Rods & rings": rods_and_rings,
}
