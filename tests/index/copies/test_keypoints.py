"""Keypoints are found again in mirror images and negatives, and compared without their order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.copies.keypoints import (
    KEYPOINTS,
    ORDERS_GD,
    VALUES,
    Keypoints,
    composite,
    find_keypoints,
)
from tests.textures import texture

FLIPS = {
    "mirrored": (lambda image: image[:, :, ::-1], lambda places: [1, 0] + places * [-1, 1]),
    "upside_down": (lambda image: image[:, ::-1], lambda places: [0, 1] + places * [1, -1]),
    "negative": (lambda image: 255 - image, lambda places: places),
    "unchanged": (lambda image: image, lambda places: places),
}


def keypoints_of(image: np.ndarray) -> Keypoints:
    return find_keypoints(composite(np.sqrt(image.astype(np.float32))))


def with_descriptors(descriptors: np.ndarray) -> Keypoints:
    count = len(descriptors)
    return Keypoints(
        places_K2=np.zeros((count, 2), np.float32), sizes_K=np.ones(count, np.float32),
        angles_K=np.zeros(count, np.float32), descriptors_KD=descriptors,
    )  # fmt: skip


@given(seed=st.integers(0, 10_000), order=st.integers(0, 3))
def test_folded_descriptors_do_not_depend_on_the_order_of_a_histogram(seed, order):
    descriptors = np.random.default_rng(seed).random((5, VALUES), np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    folded = with_descriptors(descriptors).folded_KD
    changed = with_descriptors(descriptors[:, ORDERS_GD[order]]).folded_KD
    np.testing.assert_allclose(changed, folded, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(folded, axis=1), 1, atol=1e-5)


@given(seed=st.integers(0, 10_000))
def test_folded_descriptors_of_different_histograms_differ(seed):
    descriptors = np.random.default_rng(seed).random((2, VALUES), np.float32)
    one, other = with_descriptors(descriptors).folded_KD
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize(("flip", "share"), [
    ("unchanged", 1.0), ("mirrored", 0.8), ("upside_down", 0.8), ("negative", 0.3),
])  # fmt: skip
@pytest.mark.parametrize("seed", range(3))
def test_most_keypoints_have_equal_folded_descriptors_after_a_flip(seed, flip, share):
    """A negative has fewer, because the square root of the counts is not symmetric."""
    change, moved = FLIPS[flip]
    image = texture(seed)
    one, other = keypoints_of(image), keypoints_of(np.ascontiguousarray(change(image)))
    found = one.sizes_K > 0
    distances = np.linalg.norm(moved(one.places_K2[found])[:, None] - other.places_K2[None], axis=2)
    near = (distances < 0.01) & (other.sizes_K > 0)
    alike = one.folded_KD[found] @ other.folded_KD.T > 0.95
    assert (near & alike).any(axis=1).mean() >= share
    if flip in ("mirrored", "upside_down"):
        raw = one.descriptors_KD[found] @ other.descriptors_KD.T > 0.95
        assert (near & raw).any(axis=1).mean() < 0.1  # so folding is what finds them


def test_the_composite_does_not_depend_on_the_order_gain_or_blankness_of_channels():
    roots = np.sqrt(texture(1, channels=3).astype(np.float32))
    expected = composite(roots)
    np.testing.assert_allclose(composite(roots[[2, 0, 1]]), expected, atol=1e-4)
    np.testing.assert_allclose(
        composite(roots * np.array([1, 0.5, 2], np.float32)[:, None, None]), expected, atol=1e-3
    )
    blank = np.full((1, *roots.shape[1:]), 3, np.float32)
    np.testing.assert_allclose(composite(np.concatenate([roots, blank])), expected, atol=1e-4)


def test_an_image_without_details_has_no_keypoints():
    found = keypoints_of(np.full((2, 128, 128), 90, np.uint8))
    assert found.sizes_K.shape == (KEYPOINTS,)
    assert not found.sizes_K.any()
    assert not found.folded_KD.any()
