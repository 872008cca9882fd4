"""Check the ways to choose thresholds.

Exact thresholds are never worse than a grid, shares are met, and shrinking moves thresholds towards
the overall one.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from classify.decisions.layers import Layer
from classify.decisions.settings import ThresholdSettings
from classify.decisions.thresholds import (
    GRID_POINTS,
    apply_thresholds,
    best_threshold,
    choose_thresholds,
    grid_threshold,
    predict_labels,
    share_thresholds,
    shrunk,
    thresholds_by,
)


def f1(scores_N, truth_N, threshold):
    given_N = scores_N.astype(float) >= threshold
    return 2 * (given_N & (truth_N == 1)).sum() / max(given_N.sum() + truth_N.sum(), 1)


SCORES = hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(0, 1, width=32))


@st.composite
def scored(draw):
    scores_N = draw(SCORES)
    truth_N = draw(hnp.arrays(np.uint8, len(scores_N), elements=st.integers(0, 1)))
    truth_N[draw(st.integers(0, len(scores_N) - 1))] = 1
    return scores_N, truth_N


@given(scored())
def test_exact_thresholds_are_never_below_the_grid(pair):
    scores_N, truth_N = pair
    exact, said = best_threshold(scores_N, truth_N)
    assert f1(scores_N, truth_N, exact) == pytest.approx(said)
    of_grid = f1(scores_N, truth_N, grid_threshold(scores_N, truth_N))
    assert f1(scores_N, truth_N, exact) >= of_grid - 1e-12


def test_a_grid_misses_thresholds_between_its_points():
    scores_N, truth_N = np.array([2e-5, 5e-5], np.float32), np.array([0, 1], np.uint8)
    assert f1(scores_N, truth_N, best_threshold(scores_N, truth_N)[0]) == 1
    assert f1(scores_N, truth_N, grid_threshold(scores_N, truth_N)) == pytest.approx(2 / 3)


@given(scored())
def test_the_grid_threshold_is_the_best_of_all_its_points(pair):
    scores_N, truth_N = pair
    every = [f1(scores_N, truth_N, g / GRID_POINTS) for g in range(0, GRID_POINTS, 7)]
    assert f1(scores_N, truth_N, grid_threshold(scores_N, truth_N)) >= max(every) - 1e-12


def test_shares_are_met_where_scores_differ():
    scores_QC = np.random.default_rng(0).permuted(
        np.linspace(0.01, 0.99, 100)[:, None].repeat(3, axis=1), axis=0
    )
    thresholds_C = share_thresholds(scores_QC, np.array([0.1, 0.5, 0.0]), keep_top=False)
    given_NC = predict_labels(scores_QC, thresholds_C, keep_top=False)
    assert given_NC.sum(axis=0).tolist() == [10, 50, 0]


def test_the_most_likely_labels_count_towards_a_share():
    scores_QC = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.3], [0.2, 0.4]])
    thresholds_C = share_thresholds(scores_QC, np.array([0.5, 0.75]), keep_top=True)
    assert predict_labels(scores_QC, thresholds_C).sum(axis=0).tolist() == [2, 3]


def layer(rows=60, classes=3, seed=0) -> Layer:
    rng = np.random.default_rng(seed)
    truth_NC = (rng.random((rows, classes)) < [0.5, 0.2, 0.05][:classes]).astype(np.uint8)
    truth_NC[0] = 1
    said_NC = np.clip(truth_NC * 0.3 + rng.random((rows, classes)) * 0.7, 0, 1).astype(np.float32)
    return Layer(
        learned_NC=said_NC, truth_NC=truth_NC, fold_N=np.arange(rows) % 3,
        size_N=np.array(["1 x 1"] * rows),
        asked_QC=np.empty((0, classes), np.float32),
        networks_KQC=np.empty((1, 0, classes), np.float32), asked_size_Q=np.array([], np.str_),
    )  # fmt: skip


def test_shrinking_moves_thresholds_to_the_overall_one_and_further_for_rare_labels():
    one = layer()
    exact = choose_thresholds(one.learned_NC, one.truth_NC)
    assert shrunk(exact, one.truth_NC, 0.0).per_class == pytest.approx(exact.per_class)
    assert shrunk(exact, one.truth_NC, np.inf).per_class == pytest.approx([exact.overall] * 3)
    by_ten = shrunk(exact, one.truth_NC, 10.0).per_class
    images_C = one.truth_NC.sum(axis=0).astype(float)
    for threshold, own, n in zip(by_ten, exact.per_class, images_C, strict=True):
        assert threshold == pytest.approx((n * own + 10 * exact.overall) / (n + 10))


@pytest.mark.parametrize("how", ["best_f1", "grid", "overall", "shares", "shrunk"])
def test_without_keep_top_a_row_may_be_empty_and_with_it_none_is(how):
    one = layer()
    rows_NC = np.full((1, 3), 1e-6, np.float32)
    for keep_top in (True, False):
        thresholds, _ = thresholds_by(
            ThresholdSettings(thresholds=how, keep_top=keep_top), one, None
        )
        assert thresholds.keep_top is keep_top
        assert apply_thresholds(rows_NC, thresholds).sum() == keep_top
