"""Check that thresholds of single networks are moved to where their mean gives as many labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit

from atlas.dataset.metrics import macro_f1
from classify.decisions.mean_thresholds import matched_threshold, thresholds_for_mean
from classify.decisions.thresholds import Thresholds, choose_thresholds, predict_labels

# Ties are likely, and no two values are so close that rounding decides.
PROBABILITY = st.integers(0, 64).map(lambda n: n / 64)
SOME = settings(deadline=None)  # the duration of an example is not tested
NETWORKS = st.tuples(st.integers(2, 5), st.integers(1, 30)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=PROBABILITY)
)


def reached(scores: np.ndarray, threshold: float) -> int:
    return int((scores.astype(np.float64) >= threshold).sum())


@SOME
@given(networks_KQ=NETWORKS, threshold=PROBABILITY)
def test_the_mean_reaches_it_as_often_as_single_networks_do(networks_KQ, threshold):
    mean_Q = networks_KQ.mean(axis=0)
    moved = matched_threshold(threshold, networks_KQ, mean_Q)
    wanted = np.mean([reached(scores_Q, threshold) for scores_Q in networks_KQ])
    # Only equal means, which no threshold separates, leave a difference of an image or more.
    above = int((mean_Q > moved).sum())
    assert above - 1 < wanted < reached(mean_Q, moved) + 1


@SOME
@given(networks_KQ=NETWORKS, thresholds=st.tuples(PROBABILITY, PROBABILITY))
def test_a_higher_threshold_stays_the_higher_one(networks_KQ, thresholds):
    low, high = (
        matched_threshold(t, networks_KQ, networks_KQ.mean(axis=0)) for t in sorted(thresholds)
    )
    assert 0 <= low <= high <= 1


@SOME
@given(scores_Q=arrays(np.float32, st.integers(0, 30), elements=PROBABILITY), threshold=PROBABILITY)
def test_networks_that_agree_do_not_move_it(scores_Q, threshold):
    moved = matched_threshold(threshold, np.stack([scores_Q, scores_Q]), scores_Q)
    assert moved == pytest.approx(threshold, abs=1e-6)
    assert reached(scores_Q, moved) == pytest.approx(reached(scores_Q, threshold), abs=0)


@pytest.mark.parametrize(("networks", "images"), [(1, 5), (3, 0)])
def test_one_network_or_no_test_image_moves_nothing(networks, images):
    chosen = Thresholds(per_class=(0.3, 0.8), overall=0.4, without_positives=())
    said_KQC = np.random.default_rng(0).random((networks, images, 2)).astype(np.float32)
    assert thresholds_for_mean(chosen, said_KQC, said_KQC.mean(axis=0)) == chosen


def test_noisy_networks_gain_by_it():
    """Overconfident networks that disagree: most single scores are near 0 or 1, few means are."""
    rng = np.random.default_rng(0)

    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth_NC = (rng.random((rows, 12)) < 0.08).astype(np.uint8)
        shown_NC = 4.0 * truth_NC - 5 + rng.normal(size=truth_NC.shape)
        said_KNC = expit(2 * (shown_NC + 2 * rng.normal(size=(5, *truth_NC.shape))))
        return truth_NC, said_KNC.astype(np.float32)

    truth_NC, said_KNC = draw(2000)
    chosen = choose_thresholds(said_KNC[np.arange(2000) % 5, np.arange(2000)], truth_NC)
    truth_QC, said_KQC = draw(2000)
    mean_QC = said_KQC.mean(axis=0)

    def score(thresholds: Thresholds) -> float:
        return macro_f1(truth_QC, predict_labels(mean_QC, thresholds.per_class_C, keep_top=False))

    least, best = score(chosen), score(choose_thresholds(mean_QC, truth_QC))
    assert least < best - 0.1
    assert score(thresholds_for_mean(chosen, said_KQC, mean_QC)) > (least + best) / 2
