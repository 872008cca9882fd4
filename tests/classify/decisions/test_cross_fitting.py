"""Check that a nested score predicts that of new images and that no image decides itself."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from atlas.dataset.metrics import macro_f1
from classify.decisions.cross_fitting import cross_fit, decided, honest_scores
from classify.decisions.layers import AskedRows, HeldOutRows
from classify.decisions.settings import THRESHOLD_METHODS, ThresholdSettings
from classify.decisions.thresholds import apply_thresholds

CLASSES = 8


def planted(rows: int, seed: int, *, signal: float, members: int = 2) -> HeldOutRows:
    """Draw labels with shares from 0.3 to 0.05; a signal of 0 is pure noise."""
    rng = np.random.default_rng(seed)
    truth_NC = (rng.random((rows, CLASSES)) < np.geomspace(0.3, 0.05, CLASSES)).astype(np.uint8)
    said = [signal * truth_NC + rng.normal(size=truth_NC.shape) - 1 for _ in range(members)]
    return HeldOutRows(
        ids=tuple(f"i{n}" for n in range(rows)), names=("a", "b")[:members],
        members_MNC=expit(np.array(said)).astype(np.float32), truth_NC=truth_NC,
        fold_N=rng.integers(0, 4, rows), group_N=tuple(f"i{n}" for n in range(rows)),
        size_N=np.array([("512 x 512", "1024 x 1024")[n % 2] for n in range(rows)]),
    )  # fmt: skip


def fresh(seed: int, *, signal: float) -> tuple[AskedRows, np.ndarray]:
    rows = planted(6000, seed, signal=signal)
    return rows.asked(), rows.truth_NC


@pytest.mark.parametrize(
    ("how", "thresholds"), [("mean", "best_f1"), ("logistic", "best_f1"), ("logistic", "shrunk")]
)
@pytest.mark.parametrize("signal", [0.0, 2.0])
def test_the_nested_score_is_that_of_new_images(how, thresholds, signal):
    """Compare averages over draws, because each test set is a random draw too."""
    settings, nested, flattered, new = ThresholdSettings(thresholds=thresholds), [], [], []
    asked, truth_QC = fresh(99, signal=signal)
    for seed in range(4):
        fitted = cross_fit(planted(1200, seed, signal=signal), asked, how, seed=0)
        score = honest_scores(fitted, settings, resamples=10)
        nested.append(score.nested)
        flattered.append(score.optimistic)
        made = decided(fitted, settings)
        new.append(macro_f1(truth_QC, apply_thresholds(made.asked_QC, made.thresholds)))
    assert np.mean(nested) == pytest.approx(np.mean(new), abs=0.02)
    assert np.mean(flattered) > np.mean(new) + (0.01 if signal == 0 else 0)


@pytest.mark.parametrize("how", ["mean", "weighted", "rank_mean", "logistic"])
@pytest.mark.parametrize("thresholds", THRESHOLD_METHODS)
def test_an_image_does_not_influence_its_own_labels(how, thresholds):
    rows = planted(200, 1, signal=1.0)
    rotated_NC = rows.truth_NC.copy()
    rotated_NC[rows.fold_N == 2] = 1 - rotated_NC[rows.fold_N == 2]
    own = rows.fold_N == 2
    settings = ThresholdSettings(thresholds=thresholds)
    both = [
        honest_scores(
            cross_fit(one, one.asked(), how, seed=0), settings, ("size", "cooccurrence"),
            resamples=2,
        ).nested_NC[own]
        for one in (rows, replace(rows, truth_NC=rotated_NC))
    ]  # fmt: skip
    np.testing.assert_array_equal(*both)


def test_the_interval_contains_the_score():
    fitted = cross_fit(
        planted(300, 0, signal=2.0), planted(5, 1, signal=2.0).asked(), "mean", seed=0
    )
    score = honest_scores(fitted, ThresholdSettings(), resamples=200)
    assert score.low <= score.nested <= score.high
    assert score.high - score.low < 0.4
