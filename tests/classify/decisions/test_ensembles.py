"""Check what each way to combine members must get right on planted members."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from atlas.dataset.metrics import f1_by_class
from classify.decisions.ensembles import best_weights, fit_combiner, ranks_among
from classify.decisions.settings import HOWS
from classify.decisions.thresholds import apply_thresholds, choose_thresholds


def planted(rows=300, seed=0, noise=(0.5, 3.0)):
    """Draw three labels, and members that predict them with noise."""
    rng = np.random.default_rng(seed)
    truth_NC = (rng.random((rows, 3)) < [0.5, 0.3, 0.2]).astype(np.uint8)
    signal_NC = 4.0 * truth_NC - 2.0
    members = [expit(signal_NC + sd * rng.normal(size=truth_NC.shape)) for sd in noise]
    return np.array(members, np.float32), truth_NC


@pytest.mark.parametrize("how", HOWS)
def test_the_result_for_a_row_does_not_depend_on_other_rows(how):
    members_MNC, truth_NC = planted()
    combiner = fit_combiner(how, members_MNC, truth_NC, seed=0)
    together = combiner(members_MNC[:, :20])
    alone = np.concatenate([combiner(members_MNC[:, n : n + 1]) for n in range(20)])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    assert combiner(members_MNC[:, :0]).shape == (0, 3)


@pytest.mark.parametrize("how", HOWS)
def test_probabilities_are_finite_and_from_0_to_1_at_the_extremes(how):
    members_MNC, truth_NC = planted()
    combiner = fit_combiner(how, members_MNC, truth_NC, seed=0)
    ends = np.array([np.zeros((2, 3)), np.ones((2, 3))], np.float32)
    said = combiner(ends)
    assert np.isfinite(said).all()
    assert ((said >= 0) & (said <= 1)).all()


@pytest.mark.parametrize("how", HOWS)
def test_equal_fits_are_equal(how):
    members_MNC, truth_NC = planted()
    one, other = (fit_combiner(how, members_MNC, truth_NC, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one(members_MNC), other(members_MNC))


def test_weights_go_to_the_member_that_knows():
    members_MNC, truth_NC = planted(noise=(0.2, 6.0))
    weights_M = best_weights(members_MNC, truth_NC)
    assert weights_M.sum() == pytest.approx(1)
    assert weights_M[0] > 0.85
    assert (weights_M >= 0).all()


def test_no_other_weights_have_a_smaller_log_loss():
    members_MNC, truth_NC = planted(noise=(1.0, 2.0))
    weights_M = best_weights(members_MNC, truth_NC)

    def loss(first):
        joined = first * members_MNC[0] + (1 - first) * members_MNC[1]
        return -np.log(np.where(truth_NC, joined, 1 - joined).clip(1e-6)).mean()

    assert loss(weights_M[0]) <= min(loss(w) for w in np.linspace(0, 1, 101)) + 1e-6


def test_ranks_by_hand():
    rising = np.array([0.1, 0.2, 0.2, 0.4])
    asked = np.array([0.0, 0.2, 0.3, 0.4, 1.0])
    np.testing.assert_allclose(ranks_among(rising, asked), np.array([1, 3, 4, 4.5, 5]) / 5)


@given(st.integers(0, 100))
def test_rank_mean_depends_only_on_the_order_of_each_member(seed):
    members_MNC, truth_NC = planted(rows=40, seed=seed)
    bent = members_MNC.copy()
    bent[1] = bent[1] ** 3  # another scale, the same order
    asked = members_MNC[:, :10]
    ranks_Q = np.mean(
        [ranks_among(np.sort(one[:, 0].astype(float)), one[:10, 0]) for one in members_MNC], axis=0
    )
    for learned, rows in ((members_MNC, asked), (bent, bent[:, :10])):
        said_Q = fit_combiner("rank_mean", learned, truth_NC, seed=0)(rows)[:, 0]
        assert (np.diff(said_Q[np.argsort(ranks_Q)]) >= -1e-6).all()


@pytest.mark.parametrize("how", ["logistic", "boosting"])
def test_stackers_use_labels_that_occur_together(how):
    rng = np.random.default_rng(0)
    truth_N = (rng.random(1200) < 0.3).astype(np.uint8)
    truth_NC = np.stack([truth_N, truth_N], axis=1)  # the second label is the first
    known = expit(8.0 * truth_N - 4.0 + rng.normal(size=1200))
    members = np.stack([known, np.full(1200, 0.3)], axis=1)[None].astype(np.float32)
    learned, asked = members[:, :800], members[:, 800:]
    said = fit_combiner(how, learned, truth_NC[:800], seed=0)
    thresholds = replace(choose_thresholds(said(learned), truth_NC[:800]), keep_top=False)
    assert f1_by_class(truth_NC[800:], apply_thresholds(said(asked), thresholds))[1] > 0.9


@pytest.mark.parametrize("how", ["logistic", "boosting"])
def test_a_label_with_few_images_has_the_mean_and_is_listed(how):
    members_MNC, truth_NC = planted()
    truth_NC[:, 2] = 0
    truth_NC[:3, 2] = 1
    combiner = fit_combiner(how, members_MNC, truth_NC, seed=0)
    assert combiner.without == (2,)
    np.testing.assert_allclose(
        combiner(members_MNC)[:, 2], members_MNC[:, :, 2].mean(axis=0), atol=1e-6
    )
