"""The expected gain in macro F1 of a match's labels over the classifier's.

A match may be right and its labels wrong. Whether they are is judged by the classifier's
probabilities: on held-out images, true label sets and sets of random other images differ in their
log-likelihood (a simulated leak each), which gives a likelihood ratio; the share of wrong
labels among the matches is then the one that makes all of them likeliest (expectation
maximisation, as Saerens et al. 2002 do for prior shares).

With r, the probability that a transferred set is right, a label is there with probability
r t + (1 - r) p: t from the match, p from the classifier. The expected F1 of a class is
2 TP / (predicted + true) of those expectations, and the gain of an override is its change of the
mean over classes: most for rare ones.

Axes: N images, C classes, H held-out images, R transfers, B resamplings of the held-out images.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

FloatArray = NDArray[np.float64]
Labels = NDArray[np.uint8]

EDGE = 1e-3  # no probability is taken to be surer than that
RESAMPLINGS = 30
STEPS = 100  # of expectation maximisation
# As if one of ten earlier matches had had wrong labels: few of them cannot show a share.
WRONG_BEFORE, MATCHES_BEFORE = 1, 10


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What held-out images teach. slope, offset: of probabilities (Platt 1999), pooled over
    classes. weight, bias: from the log-likelihood of a label set to the log of the likelihood ratio
    of right to random ones. chance_C: how common each label is."""

    slope: float
    offset: float
    weight: float
    bias: float
    chance_C: FloatArray

    def calibrated(self, probabilities: FloatArray) -> FloatArray:
        """Any shape in, same out."""
        odds = self.slope * logit(np.clip(probabilities, EDGE, 1 - EDGE)) + self.offset
        return np.asarray(np.clip(expit(odds), EDGE, 1 - EDGE))

    def log_ratio(self, probabilities_RC: FloatArray, labels_RC: Labels) -> FloatArray:
        """Of being right against being those of a random image, R."""
        return self.weight * _surprise(self, probabilities_RC, labels_RC) + self.bias


@dataclass(frozen=True, kw_only=True)
class ExpectedGain:
    """right_R: probability that the transferred labels are the image's. gain_R: expected change of
    macro F1 by each override, made one after another, the surest first; error_R: its standard
    deviation over resampled held-out images. made_R: those that do not cost. wrong_share: of the
    labels of all matches, estimated."""

    right_R: FloatArray
    gain_R: FloatArray
    error_R: FloatArray
    made_R: NDArray[np.bool_]
    wrong_share: float


def learn(probabilities_HC: FloatArray, truth_HC: Labels, *, seed: int) -> Judge:
    """From held-out images, whose probabilities come from a classifier that did not see them."""
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
    """error_R is 0 here; see `weigh_with_errors`.

    predicted_NC: the classifier's labels of all images that are scored together. rows_R: which of
    them have a transfer; confidence_R: that the match is one.
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
    """As `weigh`; held_out: probabilities and truth of the images to learn from, H x C each."""
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
    """Log-likelihood of label sets by the classifier, less that by how common labels are, R."""
    return _log_likelihood(judge.calibrated(probabilities_RC), labels_RC) - _log_likelihood(
        judge.chance_C, labels_RC
    )


def _log_likelihood(probabilities: FloatArray, labels_RC: Labels) -> FloatArray:
    log_NC = np.where(labels_RC, np.log(probabilities), np.log1p(-probabilities))
    return np.asarray(log_NC.sum(axis=1))


def _logistic(x: FloatArray, is_one: NDArray[np.integer]) -> tuple[float, float]:
    """Slope and offset; where x does not rise with it the offset alone.

    Few images are distinguished without a mistake by chance, so the slope is held back a little.
    """
    if len(set(is_one.tolist())) == 2:
        fitted = LogisticRegression().fit(x, is_one)
        if fitted.coef_[0, 0] > 0:
            return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return 0.0, float(logit(np.clip(is_one.mean(), EDGE, 1 - EDGE)))


def _wrong_share(ratio_R: FloatArray, confidence_R: FloatArray) -> float:
    """The share that makes all transfers likeliest, with what was before; 0 without any."""
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
    """Of each override upon those before it that do not cost."""
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
