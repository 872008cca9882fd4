import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.synthetic.edits import EDITS, HARD_EDITS, plant, rotated
from index.copies.registration import (
    Registration,
    band_passed,
    overlap_correlation,
    prepare,
    register,
)
from index.settings import RegistrationSettings
from tests.reference import correlation

SETTINGS = RegistrationSettings()


def texture(seed: int, *, channels: int = 2, size: int = 128) -> np.ndarray:
    """Smooth random blobs: something to hold on to at every scale, uint8 C x H x W."""
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(channels):
        rough = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), size / 40)
        planes.append(np.clip(60 + rough / rough.std() * 35, 0, 255))
    return np.stack(planes).astype(np.uint8)


def registered(query: np.ndarray, reference: np.ndarray) -> Registration:
    prepared = prepare(band_passed(query, SETTINGS), SETTINGS)
    return register(prepared, band_passed(reference, SETTINGS), SETTINGS)


def registration_score(query: np.ndarray, reference: np.ndarray) -> float:
    return registered(query, reference).registration_score


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), edit=st.sampled_from(sorted(EDITS)), channels=st.integers(1, 4))
def test_every_planted_edit_is_recognised(seed, edit, channels):
    source = texture(seed, channels=channels)
    assert registration_score(plant(source, edit, np.random.default_rng(seed)), source) > 0.85


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    edit=st.sampled_from(sorted(HARD_EDITS)),
    channels=st.integers(2, 4),
)
def test_hard_edits_score_above_another_picture(seed, edit, channels):
    source, other = texture(seed, channels=channels), texture(seed + 20_000, channels=channels)
    copy = plant(source, edit, np.random.default_rng(seed))
    assert registration_score(copy, source) > max(0.7, registration_score(copy, other) + 0.1)


def test_a_channel_that_is_blank_in_one_field_does_not_count():
    source = texture(11, channels=3)
    dark = source.copy()
    dark[1] = 0
    assert registration_score(dark, source) == pytest.approx(
        registration_score(source, source), abs=1e-3
    )
    assert registration_score(source, dark) == pytest.approx(1.0, abs=1e-3)


def test_fields_that_share_no_channel_match_nothing():
    source = texture(12)
    first, second = source.copy(), source.copy()
    first[0], second[1] = 0, 0
    assert registration_score(first, second) == -1.0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), channels=st.integers(1, 4))
def test_another_picture_is_not(seed, channels):
    one, other = texture(seed, channels=channels), texture(seed + 20_000, channels=channels)
    assert registration_score(one, other) < 0.8


@pytest.mark.parametrize("number", range(8))
def test_the_rotation_is_found(number):
    source = texture(3)
    query, reference = (band_passed(f, SETTINGS) for f in (rotated(source, number), source))
    found = registered(rotated(source, number), source)
    np.testing.assert_allclose(rotated(query, found.rotation), reference, atol=1e-4)


def test_a_crop_is_laid_where_it_was_cut():
    source = texture(4, size=160)
    window = source[:, 10:154, 16:160]  # 144 px of 160: scale .9
    found = registered(window, source)
    # Pixel p of the reference lies at (p - offset) / 0.9 of the query, in 64ths of the side.
    corner = found.warp_23 @ np.array([16 / 160 * 64, 10 / 160 * 64, 1.0])
    np.testing.assert_allclose(corner, 0.0, atol=0.8)
    assert found.warp_23[0, 0] == pytest.approx(1 / 0.9, abs=0.03)


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_blank_image_matches_nothing_not_even_itself(level):
    blank = np.full((2, 96, 96), level, np.uint8)
    assert registration_score(blank, blank) == -1.0
    assert registration_score(blank, texture(5)) == -1.0
    assert registration_score(texture(5), blank) == -1.0


def test_equal_fields_correlate_fully_and_symmetry_holds():
    one, other = (band_passed(texture(n), SETTINGS) for n in (6, 7))
    identity = np.eye(2, 3, dtype=np.float32)
    assert overlap_correlation(one, one, identity, SETTINGS) == pytest.approx(1.0, abs=1e-6)
    there = overlap_correlation(one, other, identity, SETTINGS)
    assert there == pytest.approx(overlap_correlation(other, one, identity, SETTINGS), abs=1e-6)


def test_overlap_correlation_equals_the_naive_twin():
    one, other = (band_passed(texture(n, channels=3), SETTINGS) for n in (8, 9))
    identity = np.eye(2, 3, dtype=np.float32)
    inner = (slice(None), slice(2, -2), slice(2, -2))
    expected = correlation(one[inner], other[inner])
    assert overlap_correlation(one, other, identity, SETTINGS) == pytest.approx(expected, abs=1e-5)


def test_too_small_an_overlap_says_nothing():
    one = band_passed(texture(10), SETTINGS)
    far = np.array([[1, 0, 50], [0, 1, 50]], np.float32)
    assert overlap_correlation(one, one, far, SETTINGS) == -1.0
