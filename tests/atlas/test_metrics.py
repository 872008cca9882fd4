"""Scores against values worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from atlas.metrics import exact_interval, label_matrix, macro_f1

BITS = st.integers(0, 1)


def test_label_matrix() -> None:
    assert label_matrix([(2, 0), (), (1,)], 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert label_matrix([], 3).shape == (0, 3)


def test_macro_f1_by_hand() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]], np.uint8)
    predicted = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]], np.uint8)
    # Class 0: 2 hits, 3 predicted, 2 true: 4/5. Class 1: no hit. Class 2: nobody speaks of it: 0.
    assert macro_f1(truth, predicted) == pytest.approx((0.8 + 0 + 0) / 3)


@given(st.data(), st.integers(1, 12), st.integers(2, 6))
def test_macro_f1_is_that_of_scikit_learn(data: st.DataObject, rows: int, classes: int) -> None:
    truth, predicted = (
        data.draw(arrays(np.uint8, (rows, classes), elements=BITS)) for _ in range(2)
    )
    expected = f1_score(truth, predicted, average="macro", zero_division=0)
    assert macro_f1(truth, predicted) == pytest.approx(expected)


def test_macro_f1_of_one_class() -> None:
    truth, predicted = np.array([[1], [0], [0]], np.uint8), np.array([[1], [1], [0]], np.uint8)
    assert macro_f1(truth, predicted) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # None or all of n: the other end is 1 - (.05 / 2)^(1/n).
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)),
        (10, 10, 0.025 ** (1 / 10), 1.0),
        (1, 1, 0.025, 1.0),
        # Tables of Clopper and Pearson.
        (5, 10, 0.1871, 0.8129),
        (47, 48, 0.8893, 0.9995),
        (0, 0, 0.0, 1.0),
    ],
)
def test_exact_interval(successes: int, trials: int, low: float, high: float) -> None:
    assert exact_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_hold_the_share_and_mirror(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = exact_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert exact_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))
