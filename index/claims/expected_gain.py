"""The expected gain in macro F1 of a match's labels over the classifier's.

A match can be right and its labels still wrong. The classifier's probabilities judge this. On
held-out images, true label sets and label sets of random other images differ in their
log-likelihood (each such pair simulates a leak), which gives a likelihood ratio. The share of wrong
labels among the matches is the one under which all matches together are most likely (expectation
maximisation, as Saerens et al. 2002 do for class priors).

Let r be the probability that a transferred label set is right. A label is then present with
probability r t + (1 - r) p, with t from the match and p from the classifier. The expected F1 of a
class is 2 TP / (predicted + true) of these expectations. The gain of an override is the change of
the mean F1 over classes, which is largest for rare labels.

Axes: N images, C classes, H held-out images, R transfers, B resamplings of the held-out images.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

FloatArray = NDArray[np.float64]
Labels = NDArray[np.uint8]

EDGE = 1e-3  # probabilities are clipped to EDGE .. 1 - EDGE
RESAMPLINGS = 30
STEPS = 100  # of expectation maximisation
# The prior: as if one of ten earlier matches had wrong labels, since few matches show no share.
WRONG_BEFORE, MATCHES_BEFORE = 1, 10


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A judge of label sets, learned from held-out images.

    Attributes:
        slope, offset: The calibration of probabilities (Platt 1999), pooled over classes.
        weight, bias: The linear map from the log-likelihood of a label set to the log of the
            likelihood ratio of right to random label sets.
        chance_C: The frequency of each label.
    """

    slope: float
    offset: float
    weight: float
    bias: float
    chance_C: FloatArray

    def calibrated(self, probabilities: FloatArray) -> FloatArray:
        """Return calibrated probabilities, in the same shape."""
        odds = self.slope * logit(np.clip(probabilities, EDGE, 1 - EDGE)) + self.offset
        return np.asarray(np.clip(expit(odds), EDGE, 1 - EDGE))

    def log_ratio(self, probabilities_RC: FloatArray, labels_RC: Labels) -> FloatArray:
        """Return the log-likelihood ratio of right labels to labels of a random image, R."""
        return self.weight * _surprise(self, probabilities_RC, labels_RC) + self.bias


@dataclass(frozen=True, kw_only=True)
class ExpectedGain:
    """The expected gain of each transfer.

    Attributes:
        right_R: The probability that the transferred labels are right.
        gain_R: The expected change of macro F1 by each override. Overrides are made one after
            another, the most certain first.
        error_R: The standard deviation of the gain over resampled held-out images.
        made_R: Whether the override is made, which is the case if its gain is not negative.
        wrong_share: The estimated share of matches with wrong labels.
    """

    right_R: FloatArray
    gain_R: FloatArray
    error_R: FloatArray
    made_R: NDArray[np.bool_]
    wrong_share: float


def learn(probabilities_HC: FloatArray, truth_HC: Labels, *, seed: int) -> Judge:
    """Learn a judge from held-out images.

    Args:
        probabilities_HC: The probabilities of a classifier that did not train on these images.
        truth_HC: The labels of the images.
        seed: The seed that pairs images with the labels of others.
    """
    chance_C = (truth_HC.sum(axis=0) + 0.5) / (len(truth_HC) + 1)
    odds = logit(np.clip(probabilities_HC, EDGE, 1 - EDGE)).reshape(-1, 1)
    slope, offset = _logistic(odds, truth_HC.ravel())
    plain = Judge(slope=slope, offset=offset, weight=1.0, bias=0.0, chance_C=chance_C)
    other_HC = truth_HC[np.random.default_rng(seed).permutation(len(truth_HC))]
    surprise = np.concatenate([_surprise(plain, probabilities_HC, x) for x in (truth_HC, other_HC)])
    weight, bias = _logistic(surprise[:, None], np.repeat([1, 0], len(truth_HC)))
    return replace(plain, weight=weight, bias=bias)


def weigh(
    judge: Judge,
    probabilities_NC: FloatArray,
    predicted_NC: Labels,
    rows_R: NDArray[np.int64],
    labels_RC: Labels,
    confidence_R: FloatArray,
) -> ExpectedGain:
    """Return the expected gain of each transfer, without errors (see `weigh_with_errors`).

    Args:
        judge: The judge of label sets.
        probabilities_NC: The classifier's probabilities for all images that are scored together.
        predicted_NC: The classifier's labels for these images.
        rows_R: The rows of the images that have a transfer.
        labels_RC: The transferred labels.
        confidence_R: The confidence that the match is right.
    """
    ratio_R = judge.log_ratio(probabilities_NC[rows_R], labels_RC)
    wrong_share = _wrong_share(ratio_R, confidence_R)
    right_R = _right(ratio_R, confidence_R, wrong_share)
    expected_NC = judge.calibrated(probabilities_NC)
    expected_NC[rows_R] = (
        right_R[:, None] * labels_RC + (1 - right_R[:, None]) * expected_NC[rows_R]
    )
    gain_R = _gains(expected_NC, predicted_NC, rows_R, labels_RC, np.argsort(-right_R))
    return ExpectedGain(
        right_R=right_R,
        gain_R=gain_R,
        error_R=np.zeros(len(rows_R)),
        made_R=gain_R >= 0,
        wrong_share=wrong_share,
    )


def weigh_with_errors(
    held_out: tuple[FloatArray, Labels],
    probabilities_NC: FloatArray,
    predicted_NC: Labels,
    rows_R: NDArray[np.int64],
    labels_RC: Labels,
    confidence_R: FloatArray,
    *,
    seed: int,
) -> ExpectedGain:
    """Return the expected gain of each transfer, like `weigh`, with standard errors.

    Args:
        held_out: The probabilities and the labels of the images to learn from, H x C each.
        probabilities_NC: As for `weigh`.
        predicted_NC: As for `weigh`.
        rows_R: As for `weigh`.
        labels_RC: As for `weigh`.
        confidence_R: As for `weigh`.
        seed: The seed of the resampling.
    """
    tests = (probabilities_NC, predicted_NC, rows_R, labels_RC, confidence_R)
    found = weigh(learn(*held_out, seed=seed), *tests)
    rng = np.random.default_rng(seed)
    gains_BR = []
    for _ in range(RESAMPLINGS):
        drawn = rng.integers(len(held_out[1]), size=len(held_out[1]))
        judge = learn(held_out[0][drawn], held_out[1][drawn], seed=seed)
        gains_BR.append(weigh(judge, *tests).gain_R)
    return replace(found, error_R=np.std(gains_BR, axis=0))


def _surprise(judge: Judge, probabilities_RC: FloatArray, labels_RC: Labels) -> FloatArray:
    """Return the log-likelihood of label sets by the classifier, relative to label frequency, R."""
    return _log_likelihood(judge.calibrated(probabilities_RC), labels_RC) - _log_likelihood(
        judge.chance_C, labels_RC
    )


def _log_likelihood(probabilities: FloatArray, labels_RC: Labels) -> FloatArray:
    log_NC = np.where(labels_RC, np.log(probabilities), np.log1p(-probabilities))
    return np.asarray(log_NC.sum(axis=1))


def _logistic(x: FloatArray, is_one: NDArray[np.integer]) -> tuple[float, float]:
    """Return the slope and offset of a logistic fit; the slope is 0 if it would be negative.

    The fit is regularised, because a few images can be separated perfectly by chance.
    """
    if len(set(is_one.tolist())) == 2:
        fitted = LogisticRegression().fit(x, is_one)
        if fitted.coef_[0, 0] > 0:
            return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return 0.0, float(logit(np.clip(is_one.mean(), EDGE, 1 - EDGE)))


def _wrong_share(ratio_R: FloatArray, confidence_R: FloatArray) -> float:
    """Return the most likely share of wrong labels, given the prior; 0 without transfers."""
    share = WRONG_BEFORE / MATCHES_BEFORE
    for _ in range(STEPS):
        wrong = (1 - _right(ratio_R, confidence_R, share)).sum() + WRONG_BEFORE
        share = float(wrong / (len(ratio_R) + MATCHES_BEFORE))
    return share if len(ratio_R) else 0.0


def _right(ratio_R: FloatArray, confidence_R: FloatArray, wrong_share: float) -> FloatArray:
    before_R = np.clip(confidence_R * (1 - wrong_share), EDGE, 1 - EDGE)
    return np.asarray(expit(logit(before_R) + ratio_R))


def _gains(
    expected_NC: FloatArray,
    predicted_NC: Labels,
    rows_R: NDArray[np.int64],
    labels_RC: Labels,
    order_R: NDArray[np.int64],
) -> FloatArray:
    """Return the gain of each override after the earlier overrides that were made."""
    hits_C = (expected_NC * predicted_NC).sum(axis=0)
    sizes_C = expected_NC.sum(axis=0) + predicted_NC.sum(axis=0)
    gain_R = np.zeros(len(rows_R))
    for r in order_R:
        change_C = labels_RC[r].astype(float) - predicted_NC[rows_R[r]]
        new_hits_C = hits_C + change_C * expected_NC[rows_R[r]]
        new_sizes_C = sizes_C + change_C
        gain_R[r] = _mean_f1(new_hits_C, new_sizes_C) - _mean_f1(hits_C, sizes_C)
        if gain_R[r] >= 0:
            hits_C, sizes_C = new_hits_C, new_sizes_C
    return gain_R


def _mean_f1(hits_C: FloatArray, sizes_C: FloatArray) -> float:
    return float(np.mean(2 * hits_C / np.maximum(sizes_C, EDGE)))
