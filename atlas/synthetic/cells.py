"""Drawn images of fluorescent cells with four stains.

The green stain depends on an antibody and its labels. The seed of an antibody defines a style, and
the seed of an image its cells and exposure. Images of one antibody differ from each other as much
as images of different antibodies, as on a microscope.

Legend: L labels, S side of the canvas in px.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.dataset.hpa import HPA_LABELS
from atlas.synthetic.patterns import PATTERNS
from atlas.synthetic.scene import CellStyle, Map, ProteinStyle, Scene, clouds, lay_out

SUPERSAMPLING = 2
# Share of the brightest pixel of a pattern. It includes clouds, but not the haze of whole cells.
LEAST_BRIGHT = 0.3
# Standard deviations of the logarithm of the gain, between antibodies and between their images.
ANTIBODY_GAIN_SPREAD = 0.25
FIELD_GAIN_SPREAD = 0.25


def draw_field(
    *, antibody_seed: int, field_seed: int, labels: tuple[int, ...], size_px: int
) -> NDArray[np.uint8]:
    """Draw an image, uint8 4 x size_px x size_px, with the channels of `HPA_CHANNELS`.

    Equal arguments give equal pixels. The same seeds show the same cells at any size.

    Args:
        antibody_seed: The seed of the antibody.
        field_seed: The seed of the image.
        labels: Numbers of `HPA_LABELS`. The green patterns of several labels are added.
        size_px: The side of the image.
    """
    field = _field(antibody_seed, field_seed, size_px)
    exposure = np.random.default_rng([antibody_seed, field_seed, 2])
    several = 1 + 0.35 * (len(set(labels)) - 1)
    shares = {label: float(field.weights_L[label]) / several for label in sorted(set(labels))}
    stains = [
        _microtubules(field.scene, field.style, field.rng),
        _protein(field, shares),
        _nuclei(field.scene, field.style, field.rng),
        _reticulum(field.scene, field.style, field.rng),
    ]
    return _expose(stains, np.array(field.style.gains_4), exposure, size_px)


def protein_places(
    *, antibody_seed: int, field_seed: int, labels: tuple[int, ...], size_px: int
) -> dict[int, NDArray[np.bool_]]:
    """Return where the protein of each label lies in an image, bool size_px x size_px.

    The image is that of `draw_field` with the same arguments. A place is at least LEAST_BRIGHT as
    bright as the brightest pixel of the label's pattern. It is measured before focus, haze and
    noise are added.
    """
    field = _field(antibody_seed, field_seed, size_px)
    size = (size_px, size_px)
    places = {}
    for label, pattern in _patterns(field, sorted(set(labels))):
        seen = cv2.resize(pattern, size, interpolation=cv2.INTER_AREA)
        places[label] = np.asarray(seen > LEAST_BRIGHT * seen.max(), dtype=np.bool_)
    return places


@dataclass(frozen=True, kw_only=True)
class _Field:
    """The objects from which stains are drawn.

    Attributes:
        style: The style of the cells.
        protein: The style of the protein.
        weights_L: The weight of each label in green.
        scene: The geometry.
        rng: The random generator of the other stains.
        green_rng: The random generator of the green patterns, drawn in the order of labels.
    """

    style: CellStyle
    protein: ProteinStyle
    weights_L: NDArray[np.float64]
    scene: Scene
    rng: np.random.Generator
    green_rng: np.random.Generator


def _field(antibody_seed: int, field_seed: int, size_px: int) -> _Field:
    antibody = np.random.default_rng([antibody_seed, 0])
    style, protein = _cell_style(antibody), _protein_style(antibody)
    weights_L = antibody.uniform(0.5, 1.0, len(HPA_LABELS))
    rng = np.random.default_rng([antibody_seed, field_seed, 1])
    return _Field(
        style=style,
        protein=protein,
        weights_L=weights_L,
        scene=lay_out(style, rng, size_px * SUPERSAMPLING),
        rng=rng,
        green_rng=np.random.default_rng([antibody_seed, field_seed, 3]),
    )


def _cell_style(rng: np.random.Generator) -> CellStyle:
    gains = np.exp(rng.normal(0, ANTIBODY_GAIN_SPREAD, 4))
    return CellStyle(
        radius=float(rng.uniform(0.13, 0.21)),
        nucleus_share=float(rng.uniform(0.30, 0.70)),
        nucleus_ratio=float(rng.uniform(1.0, 2.5)),
        body_ratio=float(rng.uniform(1.0, 3.4)),
        raggedness=float(rng.uniform(0.04, 0.26)),
        crowding=float(rng.uniform(0.5, 1.0)),
        chromatin_grain=float(rng.uniform(0.35, 2.75)),
        nucleoli=float(rng.uniform(1.0, 5.0)),
        fibres=float(rng.uniform(9, 59)),
        fibre_curl=float(rng.uniform(0.05, 0.6)),
        er_reach=float(rng.uniform(0.15, 1.1)),
        er_grain=float(rng.uniform(0.4, 3.0)),
        gains_4=(float(gains[0]), float(gains[1]), float(gains[2]), float(gains[3])),
        protein_variation=float(rng.uniform(0.1, 0.6)),
    )


def _protein_style(rng: np.random.Generator) -> ProteinStyle:
    return ProteinStyle(
        dot_radius=float(rng.uniform(0.3, 2.05)),
        dot_number=float(np.exp(rng.uniform(-0.9, 0.7))),
        spread=float(rng.uniform(0.3, 2.6)),
        clumping=float(rng.uniform(0, 0.7)),
        length=float(rng.uniform(0.3, 2.1)),
        width=float(rng.uniform(0.3, 2.25)),
        grain=float(rng.uniform(0.35, 3.0)),
        unevenness=float(rng.uniform(0.1, 0.5)),
        haze=float(rng.uniform(0.1, 2.2)),
    )


def _by_cell(scene: Scene, spread: float, rng: np.random.Generator) -> Map:
    """Draw a brightness for each cell, and paint it over the cell."""
    levels_256 = np.exp(rng.normal(0, spread, 256)).astype(np.float32)
    return np.asarray(cv2.LUT(scene.cell_of, levels_256), dtype=np.float32)


def _microtubules(scene: Scene, style: CellStyle, rng: np.random.Generator) -> Map:
    near = np.exp(-scene.outside_nucleus / np.float32(0.3)).astype(np.float32)
    haze = scene.cytoplasm * (0.1 + 0.3 * near) * clouds(rng, len(near), 20, 0.3)
    inside = scene.fibres * (1 - 0.8 * scene.nucleus) * (0.5 + 0.9 * near)
    return np.asarray((inside + haze) * _by_cell(scene, 0.25, rng), dtype=np.float32)


def _nuclei(scene: Scene, style: CellStyle, rng: np.random.Generator) -> Map:
    chromatin = clouds(rng, len(scene.body), 22 * style.chromatin_grain, 0.22)
    return scene.nucleus * (1 - 0.55 * scene.nucleoli) * chromatin * _by_cell(scene, 0.2, rng)


def _reticulum(scene: Scene, style: CellStyle, rng: np.random.Generator) -> Map:
    decay = np.exp(-scene.outside_nucleus / np.float32(style.er_reach)).astype(np.float32)
    coarse = clouds(rng, len(decay), 12 * style.er_grain, 0.25)
    fine = clouds(rng, len(decay), 34 * style.er_grain, 0.42)
    area = scene.cytoplasm + np.float32(0.2) * scene.nucleus
    cloudy = area * decay * coarse * fine
    return np.asarray(cloudy * _by_cell(scene, 0.25, rng), dtype=np.float32)


def _patterns(field: _Field, labels: Sequence[int]) -> Iterator[tuple[int, Map]]:
    """Yield the patterns of labels, drawn from one stream of random numbers."""
    for label in labels:
        yield label, PATTERNS[HPA_LABELS[label]](field.scene, field.protein, field.green_rng)


def _protein(field: _Field, shares: Mapping[int, float]) -> Map:
    total = np.float32(field.protein.haze) * field.scene.faint
    for label, pattern in _patterns(field, list(shares)):
        total = total + np.float32(shares[label]) * pattern
    by_cell = _by_cell(field.scene, field.style.protein_variation, field.green_rng)
    return (total * by_cell).astype(np.float32)


def _expose(
    stains: list[Map], gains_4: NDArray[np.float64], rng: np.random.Generator, size_px: int
) -> NDArray[np.uint8]:
    """Simulate a microscope: focus, gain, offset, shot and read noise, and 8 bits."""
    sigma_px = np.sqrt(size_px / 64) * rng.uniform(0.3, 0.5)
    counts = (120 * gains_4 * np.exp(rng.normal(0, FIELD_GAIN_SPREAD, 4))).astype(np.float32)
    offset, read = rng.uniform(-3, 4, 4).astype(np.float32), np.float32(rng.uniform(1.0, 3.0))
    light = rng.standard_normal((len(stains), size_px, size_px), dtype=np.float32)
    for plane, stain, count, black in zip(light, stains, counts, offset, strict=True):
        small = cv2.resize(stain, (size_px, size_px), interpolation=cv2.INTER_AREA)
        seen = cv2.GaussianBlur(small, (0, 0), sigma_px) * count
        plane *= np.sqrt(seen * np.float32(0.4) + read * read)
        plane += seen + black
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
