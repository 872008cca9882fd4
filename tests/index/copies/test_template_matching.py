"""Windows on an image, all at once, against OpenCV one by one."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index.copies.template_matching import best_shifts, templates


def naive(window, image):
    scores = cv2.matchTemplate(image, window, cv2.TM_CCOEFF_NORMED)
    _, score, _, (x, y) = cv2.minMaxLoc(scores)
    return score, x, y


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    side=st.integers(6, 40),
    shapes=st.lists(st.tuples(st.floats(0.3, 1), st.floats(0.3, 1)), min_size=1, max_size=12),
    offset=st.sampled_from([0.0, 3.0, -50.0]),
)
def test_scores_and_places_are_those_of_opencv(seed, side, shapes, offset):
    rng = np.random.default_rng(seed)
    image = (cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 1.5) + offset).astype(
        np.float32
    )
    windows = [
        rng.normal(size=(max(3, round(h * side)), max(3, round(w * side)))).astype(np.float32)
        for h, w in shapes
    ]
    others = np.stack([image, image.T, rng.normal(size=image.shape).astype(np.float32)])
    together = best_shifts(templates(windows, side), others)
    scores, xs, ys = (rows[0] for rows in best_shifts(templates(windows, side), image[None]))
    np.testing.assert_allclose(together[0][0], scores, atol=1e-6)  # whatever is beside it
    if offset == 0:  # OpenCV's own rounding shows at others
        expected = [naive(window, image) for window in windows]
        np.testing.assert_allclose(scores, [score for score, _, _ in expected], atol=2e-4)
    for window, x, y, score in zip(windows, xs, ys, scores, strict=True):
        part = image[y : y + window.shape[0], x : x + window.shape[1]]
        assert part.shape == window.shape  # wholly inside
        there = np.corrcoef(part.ravel(), window.ravel())[0, 1]
        np.testing.assert_allclose(there, score, atol=2e-4)


def test_a_window_is_found_where_it_was_cut():
    rng = np.random.default_rng(1)
    image = rng.normal(size=(32, 32)).astype(np.float32)
    windows = [image[4:24, 7:29].copy(), 2 * image[:32, 3:20] + 5]
    scores, xs, ys = best_shifts(templates(windows, 32), image[None])
    np.testing.assert_allclose(scores, 1, atol=1e-5)
    assert list(zip(xs[0], ys[0], strict=True)) == [(7, 4), (3, 0)]


def test_what_shows_nothing_scores_nothing():
    flat = np.full((16, 16), 3.0, np.float32)
    textured = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    scores, _, _ = best_shifts(templates([textured[:9, :9], flat[:9, :9]], 16), flat[None])
    np.testing.assert_allclose(scores, 0, atol=1e-6)
    scores, _, _ = best_shifts(templates([flat[:9, :9]], 16), textured[None])
    np.testing.assert_allclose(scores, 0, atol=1e-6)
