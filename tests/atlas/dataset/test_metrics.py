"""Scores equal values computed by hand and those of scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from atlas.dataset.metrics import (
    bootstrap_macro_f1,
    bootstrap_macro_f1_difference,
    exact_interval,
    label_matrix,
    macro_f1,
)
from tests.reference import resampled_macro_f1

BITS = st.integers(0, 1)


def test_labels_become_a_matrix() -> None:
    assert label_matrix([(2, 0), (), (1,)], 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert label_matrix([], 3).shape == (0, 3)


def test_macro_f1_equals_the_value_computed_by_hand() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]], np.uint8)
    predicted = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]], np.uint8)
    # Class 0 has 2 hits, 3 predictions and 2 true images: 4/5. Class 1 has no hit. Class 2 occurs
    # nowhere and counts as 0.
    assert macro_f1(truth, predicted) == pytest.approx((0.8 + 0 + 0) / 3)


@given(st.data(), st.integers(1, 12), st.integers(2, 6))
def test_macro_f1_equals_that_of_scikit_learn(data: st.DataObject, rows: int, classes: int) -> None:
    truth, predicted = (
        data.draw(arrays(np.uint8, (rows, classes), elements=BITS)) for _ in range(2)
    )
    expected = f1_score(truth, predicted, average="macro", zero_division=0)
    assert macro_f1(truth, predicted) == pytest.approx(expected)


def test_macro_f1_accepts_one_class() -> None:
    truth, predicted = np.array([[1], [0], [0]], np.uint8), np.array([[1], [1], [0]], np.uint8)
    assert macro_f1(truth, predicted) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # For 0 or n of n, the other bound is 1 - (0.05 / 2)^(1/n).
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)),
        (10, 10, 0.025 ** (1 / 10), 1.0),
        (1, 1, 0.025, 1.0),
        # These values are from the tables of Clopper and Pearson.
        (5, 10, 0.1871, 0.8129),
        (47, 48, 0.8893, 0.9995),
        (0, 0, 0.0, 1.0),
    ],
)
def test_exact_intervals_equal_published_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert exact_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_contain_the_share_and_are_symmetric(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = exact_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert exact_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))


@given(st.data(), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_bootstrap_equals_resampling_one_by_one(
    data: st.DataObject, rows: int, classes: int, seed: int
) -> None:
    truth, one, other = (
        data.draw(arrays(np.uint8, (rows, classes), elements=BITS)) for _ in range(3)
    )
    names = st.lists(st.sampled_from("abcd"), min_size=rows, max_size=rows)
    groups = data.draw(st.none() | names)
    plain = groups or [f"{row}" for row in range(rows)]

    def one_by_one(predicted: NDArray[np.uint8]) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        return np.array([resampled_macro_f1(truth, predicted, plain, rng) for _ in range(20)])

    found = bootstrap_macro_f1(truth, one, groups_N=groups, resamples=20, seed=seed)
    assert found == pytest.approx(np.percentile(one_by_one(one), [2.5, 97.5]))
    pair = bootstrap_macro_f1_difference(
        truth, one, other, groups_N=groups, resamples=20, seed=seed
    )
    difference = one_by_one(one) - one_by_one(other)
    assert pair == pytest.approx(np.percentile(difference, [2.5, 97.5]))


def test_bootstrap_intervals_contain_the_score_of_the_population() -> None:
    rng = np.random.default_rng(0)

    def draw(rows: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        truth = (rng.random((rows, 3)) < [0.5, 0.2, 0.1]).astype(np.uint8)
        flipped = rng.random((rows, 3)) < [0.1, 0.15, 0.05]
        return truth, truth ^ flipped.astype(np.uint8)

    all_of_them = macro_f1(*draw(200_000))
    intervals = [bootstrap_macro_f1(*draw(300), resamples=200, seed=seed) for seed in range(200)]
    held = sum(low <= all_of_them <= high for low, high in intervals)
    # About 95% of 200; chance and the bias of percentile intervals change the number a little.
    assert 178 <= held <= 198


def test_groups_of_equal_images_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random((40, 2)) < 0.5).astype(np.uint8)
    predicted = truth ^ (rng.random((40, 2)) < 0.2).astype(np.uint8)
    once = bootstrap_macro_f1(truth, predicted)
    tenfold = np.repeat(truth, 10, axis=0), np.repeat(predicted, 10, axis=0)
    apart = bootstrap_macro_f1(*tenfold)
    together = bootstrap_macro_f1(*tenfold, groups_N=[str(n // 10) for n in range(400)])
    width, narrow = once[1] - once[0], apart[1] - apart[0]
    assert narrow < width / 2
    assert together[1] - together[0] == pytest.approx(width, rel=0.1)


def test_bootstrap_intervals_of_constant_scores_have_no_width() -> None:
    truth = np.eye(5, 6, dtype=np.uint8)
    # A class of one image that is right is right in every resample that contains it. The sixth
    # class has no images and counts as 0.
    assert bootstrap_macro_f1(truth, truth, resamples=50) == pytest.approx((5 / 6, 5 / 6))
    assert bootstrap_macro_f1(truth[:, :5], truth[:, :5], resamples=50) == (1, 1)
    assert bootstrap_macro_f1_difference(truth, truth, truth, resamples=50) == (0.0, 0.0)
    with pytest.raises(ValueError, match="no images"):
        bootstrap_macro_f1(truth[:0], truth[:0])
