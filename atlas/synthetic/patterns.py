"""The 28 patterns of proteins, drawn into an image of cells.

Each pattern takes (scene, style, rng) and returns float32 S x S, about 1 where it is bright.

Legend: K cells, N points or curves, S side of the canvas in px. Lengths are in cell radii, as in
`atlas/synthetic/scene.py`.
"""

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

from atlas.synthetic.scene import (
    Map,
    Points,
    ProteinStyle,
    Scene,
    clouds,
    points_between,
    spots,
    strokes,
    worms,
)

Pattern: TypeAlias = Callable[[Scene, ProteinStyle, np.random.Generator], Map]


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
    """Draw the nucleus without its nucleoli."""
    return _textured(scene.nucleus * (1 - 0.7 * scene.nucleoli), style, rng)


def nuclear_membrane(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw the rim of the nucleus."""
    rim = np.exp(-scene.inside_nucleus / np.float32(0.07 * style.width)).astype(np.float32)
    return np.asarray(scene.nucleus * (1.4 * rim + np.float32(0.15)), dtype=np.float32)


def nucleoli(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw the nucleoli."""
    return scene.nucleus * (1.2 * scene.nucleoli + np.float32(style.unevenness * 0.4))


def fibrillar_center(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw small dots in the nucleoli."""
    near = np.repeat(scene.nucleoli_N2, max(1, round(2 * style.dot_number)), axis=0)
    near = near + rng.normal(0, 0.05 * style.length * scene.radius_px, near.shape)
    return scene.nucleus * (1.3 * spots(scene, near, 0.03 * style.dot_radius) + np.float32(0.12))


def nuclear_speckles(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw many dots in the nucleus."""
    dots = spots(scene, _in_nuclei(scene, style, 16, rng), 0.05 * style.dot_radius)
    outside_nucleoli = scene.nucleus * (1 - 0.6 * scene.nucleoli)
    return np.asarray(outside_nucleoli * (dots + np.float32(0.2)), dtype=np.float32)


def nuclear_bodies(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw few dots in the nucleus."""
    dots = spots(scene, _in_nuclei(scene, style, 4, rng), 0.055 * style.dot_radius)
    return scene.nucleus * (1.2 * dots + np.float32(0.1))


def endoplasmic_reticulum(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw clouds that fade with the distance from the nucleus."""
    decay = np.exp(-scene.outside_nucleus / np.float32(0.45 * style.length)).astype(np.float32)
    return _textured(scene.cytoplasm * decay * 1.2, style, rng)


def golgi(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw ribbons beside the nucleus."""
    starts = _beside_nucleus(scene, 5 * style.dot_number, 0.14 * style.spread, rng)
    ribbons = strokes(
        scene, worms(scene, starts, 0.35 * style.length, 0.6, rng), 0.06 * style.width
    )
    return cv2.GaussianBlur(ribbons, (0, 0), 1.0).astype(np.float32) * (1 - 0.8 * scene.nucleus)


def peroxisomes(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw many small dots in the cytoplasm."""
    return spots(scene, _in_cytoplasm(scene, style, 30, rng), 0.028 * style.dot_radius)


def endosomes(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw dots in the whole cytoplasm."""
    return spots(scene, _in_cytoplasm(scene, style, 12, rng, reach=1.0), 0.05 * style.dot_radius)


def lysosomes(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw dots near the nucleus."""
    return spots(scene, _in_cytoplasm(scene, style, 14, rng, reach=0.5), 0.065 * style.dot_radius)


def intermediate_filaments(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw a tangle of filaments."""
    starts = _in_cytoplasm(scene, style, 9, rng, reach=0.5)
    tangle = strokes(scene, worms(scene, starts, 1.1 * style.length, 0.5, rng), 0.05 * style.width)
    return tangle * (1 - 0.7 * scene.nucleus)


def actin_filaments(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw parallel cables and the cell's edge."""
    middles = _in_cytoplasm(scene, style, 9, rng)
    owner = np.repeat(scene.angles_K, len(middles) // len(scene.angles_K))
    angle = owner + rng.normal(0, 0.15, len(middles))
    along = np.stack([np.cos(angle), np.sin(angle)], 1) * (0.5 * style.length * scene.radius_px)
    cables = strokes(scene, np.stack([middles - along, middles, middles + along], 1))
    return cables + 0.5 * plasma_membrane(scene, style, rng)


def focal_adhesions(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw short strokes at the cell's edge."""
    cells, outline = scene.bodies_KP2.shape[:2]
    picked = rng.integers(outline, size=(cells, max(2, round(9 * style.dot_number))))
    rim = scene.bodies_KP2[np.arange(cells)[:, None], picked]
    inward = scene.centres_K2[:, None] - rim
    outer, inner = rim + 0.04 * inward, rim + (0.04 + 0.16 * style.length) * inward
    return strokes(scene, np.stack([outer, inner], 2).reshape(-1, 2, 2), 0.07 * style.width)


def microtubules(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw fibres from the nucleus to the cell's edge."""
    return _textured(scene.fibres * (1 - 0.6 * scene.nucleus), style, rng)


def microtubule_ends(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw the ends of the fibres."""
    return scene.body * spots(scene, scene.fibre_ends_N2, 0.035 * style.dot_radius)


def cytokinetic_bridge(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw bars between neighbouring cells."""
    apart = np.linalg.norm(scene.centres_K2[:, None] - scene.centres_K2[None], axis=2)
    mate = scene.centres_K2[np.argmin(apart + 1e9 * np.eye(len(apart)), axis=1)]
    middle, along = (scene.centres_K2 + mate) / 2, mate - scene.centres_K2
    along = along * (0.16 * style.length * scene.radius_px / np.linalg.norm(along, axis=1))[:, None]
    bars = strokes(scene, np.stack([middle - along, middle + along], 1), 0.1 * style.width)
    return 1.3 * bars + scene.faint


def mitotic_spindle(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw the spindles of dividing cells."""
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
    """Draw a cluster of dots beside the nucleus."""
    near = _beside_nucleus(scene, 6 * style.dot_number, 0.08 * style.spread, rng)
    return spots(scene, near, 0.06 * style.dot_radius) + 0.15 * scene.cytoplasm


def centrosome(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw a pair of dots beside the nucleus."""
    pair = _beside_nucleus(scene, 2, 0.05 * style.spread, rng)
    return 1.4 * spots(scene, pair, 0.04 * style.dot_radius) + scene.faint


def lipid_droplets(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw rings in the cytoplasm."""
    places = _in_cytoplasm(scene, style, 10, rng, reach=0.8)
    hollow = 0.8 * spots(scene, places, 0.04 * style.dot_radius)
    shells = np.maximum(spots(scene, places, 0.08 * style.dot_radius) - hollow, 0)
    return np.asarray(1.6 * shells, dtype=np.float32)


def plasma_membrane(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw the cell's edge."""
    rim = np.exp(-scene.to_edge / np.float32(0.06 * style.width)).astype(np.float32)
    return _textured(scene.body * rim * 1.4, style, rng)


def cell_junctions(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw the edges where cells touch."""
    reach = 2 * max(1, round(0.08 * scene.radius_px)) + 1
    kernel = np.ones((reach, reach), np.uint8)
    highest = cv2.dilate(scene.cell_of, kernel)
    lowest = cv2.erode(np.where(scene.cell_of == 0, 255, scene.cell_of).astype(np.uint8), kernel)
    touching = ((highest > lowest) & (scene.cell_of > 0)).astype(np.float32)
    return (touching + np.float32(0.15)) * plasma_membrane(scene, style, rng)


def mitochondria(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw short threads in the cytoplasm."""
    starts = _in_cytoplasm(scene, style, 22, rng, reach=0.75)
    threads = strokes(scene, worms(scene, starts, 0.3 * style.length, 0.5, rng), 0.04 * style.width)
    return threads * (1 - 0.8 * scene.nucleus)


def aggresome(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw one large blob beside the nucleus."""
    blob = spots(
        scene, _beside_nucleus(scene, 1, 0.06 * style.spread, rng), 0.13 * style.dot_radius
    )
    return scene.body * 1.3 * blob + scene.faint


def cytosol(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw the whole cytoplasm."""
    thin_rim = np.minimum(scene.to_edge / np.float32(0.35 * style.spread), 1)
    return _textured(scene.cytoplasm * (0.3 + 0.7 * thin_rim), style, rng)


def cytoplasmic_bodies(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw few dots in the cytoplasm."""
    dots = spots(scene, _in_cytoplasm(scene, style, 5, rng), 0.06 * style.dot_radius)
    return scene.body * 1.2 * dots + scene.faint


def rods_and_rings(scene: Scene, style: ProteinStyle, rng: np.random.Generator) -> Map:
    """Draw a few rods and rings."""
    places = _in_cytoplasm(scene, style, 2, rng, reach=0.8)
    rods = worms(scene, places, 0.4 * style.length, 0.05, rng)
    rotation = np.linspace(0, 2 * np.pi, 9)
    circle = np.stack([np.cos(rotation), np.sin(rotation)], 1) * (
        0.1 * style.dot_radius * scene.radius_px
    )
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
