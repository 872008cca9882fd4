"""The channels of an image belong together, and a channel of another image is detected."""

from itertools import pairwise, permutations, product
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from atlas.dataset.coherence import (
    BAND_SIGMAS_PX,
    LEAST_SCORE,
    OTHER_PLACE,
    RIDGE,
    SIDE_PX,
    STEP_PX,
    coherence_scores,
)
from atlas.dataset.hpa import HPA_CHANNELS
from atlas.dataset.images import read_field
from atlas.dataset.manifest import read_manifest
from atlas.synthetic.cells import draw_field

Field = NDArray[np.uint8]
STRUCTURES = (0, 2, 3)  # microtubules, nucleus and ER, which all cells have


def drawn(seed: int, size_px: int = 64) -> Field:
    return draw_field(antibody_seed=seed, field_seed=0, labels=(25,), size_px=size_px)


def reference_scores(field: Field) -> NDArray[np.float64]:
    """The definition: maps are moved one shift at a time, and fitted by least squares."""
    maps = []
    for plane in field:
        small = cv2.resize(plane, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        root = np.sqrt(small.astype(float))
        fine, coarse = (cv2.GaussianBlur(root, (0, 0), sigma) for sigma in BAND_SIGMAS_PX)
        band = fine - coarse
        maps.append((band - band.mean()) / np.linalg.norm(band - band.mean()))
    steps = range(0, SIDE_PX, STEP_PX)
    scores = []
    for n, judged in enumerate(maps):
        others = np.stack([other.ravel() for m, other in enumerate(maps) if m != n], axis=1)
        ridged = np.vstack([others, np.sqrt(RIDGE) * np.eye(others.shape[1])])
        fits = {}
        for y, x in product(steps, steps):
            moved = np.roll(judged, (y, x), axis=(0, 1)).ravel()
            weights = np.linalg.lstsq(ridged, np.append(moved, [0] * others.shape[1]))[0]
            fits[y, x] = moved @ others @ weights
        displaced = [
            fit for (y, x), fit in fits.items()
            if np.hypot(min(y, SIDE_PX - y), min(x, SIDE_PX - x)) >= SIDE_PX * OTHER_PLACE
        ]  # fmt: skip
        scores.append((fits[0, 0] - np.mean(displaced)) / np.std(displaced))
    return np.array(scores)


def test_scores_are_those_of_the_definition() -> None:
    field = with_channel_of(drawn(5), drawn(6), 2)
    np.testing.assert_allclose(coherence_scores(field), reference_scores(field), rtol=1e-3)


def foreign_in(field: Field) -> list[int]:
    """Return the channels that do not seem to belong, lowest score first."""
    scores = coherence_scores(field)
    return [int(c) for c in np.argsort(scores) if scores[c] < LEAST_SCORE]


def with_channel_of(field: Field, other: Field, channel: int) -> Field:
    swapped = field.copy()
    swapped[channel] = other[channel]
    return swapped


@pytest.mark.parametrize("size_px", [64, 128])
def test_drawn_fields_are_coherent_and_swapped_ones_are_not(size_px: int) -> None:
    fields = [drawn(seed, size_px) for seed in range(12)]
    own = np.array([coherence_scores(field) for field in fields])
    assert (own[:, STRUCTURES] > 10 * LEAST_SCORE).all()
    swapped = [
        coherence_scores(with_channel_of(a, b, channel))[channel]
        for channel in STRUCTURES
        for a, b in pairwise(fields)
    ]
    assert np.mean(np.array(swapped) < LEAST_SCORE) > 0.8


def test_a_displaced_channel_is_detected() -> None:
    for seed in range(6):
        field = drawn(seed)
        field[2] = np.roll(field[2], (SIDE_PX // 2, SIDE_PX // 3), axis=(0, 1))
        assert foreign_in(field)[0] == 2


def test_rotations_and_brightness_change_little() -> None:
    field = drawn(3)
    scores = coherence_scores(field)
    np.testing.assert_allclose(coherence_scores(field[:, ::-1, :]), scores, rtol=1e-3)
    np.testing.assert_allclose(coherence_scores(field.transpose(0, 2, 1)), scores, rtol=1e-3)
    dim = coherence_scores((field * 0.6).astype(np.uint8))
    np.testing.assert_allclose(dim, scores, rtol=0.2)


def test_channels_that_cannot_be_judged_have_no_score() -> None:
    field = drawn(1)
    assert foreign_in(field[:1]) == []
    assert foreign_in(np.zeros((4, 64, 64), np.uint8)) == []
    assert foreign_in(field[:, :16, :16]) == []
    empty = field.copy()
    empty[3] = 5
    scores = coherence_scores(empty)
    assert np.isnan(scores[3])
    assert (scores[[0, 2]] > LEAST_SCORE).all()
    assert np.isnan(coherence_scores(with_channel_of(np.zeros_like(field), field, 0))).all()


def test_equal_channels_and_other_shapes_are_accepted() -> None:
    plane = drawn(2)[0]
    same = np.stack([plane] * 3)
    assert (coherence_scores(same) > LEAST_SCORE).all()
    assert (coherence_scores(drawn(2)[:, :40, :]) > LEAST_SCORE)[list(STRUCTURES)].all()


def test_both_of_two_channels_are_named() -> None:
    """One of several dozen pairs of unrelated channels fits by chance."""
    pairs = [np.stack([drawn(seed)[0], drawn(seed + 1)[3]]) for seed in range(12)]
    assert sum(set(foreign_in(pair)) == {0, 1} for pair in pairs) >= 10


def real_quad(folder: Path, image_id: str) -> Field:
    files = tuple(folder / f"{image_id}_{channel}.png" for channel in HPA_CHANNELS)
    return read_field(files, HPA_CHANNELS)


@pytest.mark.real
def test_the_broken_quad_is_reported(shared: Path) -> None:
    assert foreign_in(real_quad(shared / "broken_quad", "10008_57_F11_1")) == [3]


@pytest.mark.real
def test_whole_real_fields_are_coherent_and_swapped_ones_are_not(shared: Path) -> None:
    folder = shared / "quads_512"
    ids = sorted(path.name.removesuffix("_red.png") for path in folder.glob("*_red.png"))
    fields = [real_quad(folder, image_id) for image_id in ids]
    assert len(fields) == 4
    assert [foreign_in(field) for field in fields] == [[]] * 4
    for channel in STRUCTURES:
        for a, b in permutations(fields, 2):
            assert channel in foreign_in(with_channel_of(a, b, channel))


@pytest.mark.real
def test_few_real_tiles_are_reported(shared: Path) -> None:
    """Tiles hold one or two cells and planted edits, so some of them have too little content."""
    rows = read_manifest(shared / "benches" / "hpa_tiles").rows
    named = [foreign_in(read_field(row.files, HPA_CHANNELS)) for row in rows]
    reported = [row.split for row, found in zip(rows, named, strict=True) if found]
    assert reported.count("train") == 0
    assert reported.count("test") <= 6
    assert {channel for found in named for channel in found} <= {1, 2}
