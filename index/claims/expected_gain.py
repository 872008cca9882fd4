"""The expected gain in macro F1 of a match's labels over the classifier's.

A match can be right and its labels still wrong. The classifier judges this, if it did not train on
the match: one that did has perhaps memorised the wrong labels. On held-out images, true label sets
and label sets of random other images differ in their log-likelihood (each such pair simulates a
leak), which gives the likelihood ratio of any label set to a random one.

The true labels of a match are then a mixture. They are the transferred ones; or they differ from
these in one label, which is how published leak tables differ; or the transferred labels are those
of a random other image, and only the classifier knows anything. The shares of the three among all
matches are those under which the matches together are most likely (expectation maximisation, as
Saerens et al. 2002 do for class priors, with a Dirichlet prior).

The gain of an override is the change of the expected mean F1 over classes. It is largest for rare
labels, where the F1 of the expected labels is far from the expected F1. So label matrices are drawn
from the expectations, and the F1 is averaged over these.

Axes: N images, C classes, H held-out images, R transfers, S drawn label matrices.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

FloatArray = NDArray[np.float64]
Labels = NDArray[np.uint8]

EDGE = 1e-3  # probabilities are clipped to EDGE .. 1 - EDGE
RESAMPLINGS = 30  # of the held-out images
DRAWS = 256
STEPS = 100  # of expectation maximisation
# The prior: as if one of ten earlier matches had wrong labels, since few matches show no shares.
PRIOR = np.array([9.0, 0.5, 0.5])  # right, one label off, of a random image


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Labelled images to learn from.

    Attributes:
        submitted_HC: The probabilities by what makes the submission, cross-fitted: without the
            influence of the image's own labels.
        judging_HC: The probabilities by single classifiers that did not train on the image, which
            judge transferred labels.
        truth_HC: The labels.
    """

    submitted_HC: FloatArray
    judging_HC: FloatArray
    truth_HC: Labels


@dataclass(frozen=True, kw_only=True)
class Transfers:
    """The transfers that are weighed.

    Attributes:
        rows_R: The rows of the test images among all that are scored together.
        labels_RC: The transferred labels.
        confidence_R: The confidence that the match is right.
        judging_RC: The probabilities by classifiers that did not train on the match. A row is NaN
            if there is none; its labels are not judged.
    """

    rows_R: NDArray[np.int64]
    labels_RC: Labels
    confidence_R: FloatArray
    judging_RC: FloatArray

    @property
    def judged_R(self) -> NDArray[np.bool_]:
        """Whether the labels are judged."""
        return np.asarray(~np.isnan(self.judging_RC).any(axis=1))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A calibration of probabilities (Platt 1999), pooled over classes."""

    slope: float
    offset: float

    def of(self, probabilities: FloatArray) -> FloatArray:
        """Return calibrated probabilities, in the same shape."""
        odds = self.slope * logit(np.clip(probabilities, EDGE, 1 - EDGE)) + self.offset
        return np.asarray(np.clip(expit(odds), EDGE, 1 - EDGE))


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A judge of label sets, learned from held-out images.

    Attributes:
        submitted: The calibration of the probabilities that make the submission.
        judging: The calibration of the probabilities that judge transferred labels.
        weight, bias: The linear map from the log-likelihood of a label set to the log of the
            likelihood ratio of right to random label sets.
        chance_C: The frequency of each label.
    """

    submitted: Calibration
    judging: Calibration
    weight: float
    bias: float
    chance_C: FloatArray

    def log_ratio(self, probabilities_RC: FloatArray, labels_RC: Labels) -> FloatArray:
        """Return the log-likelihood ratio of right labels to labels of a random image, R."""
        odds_RC = logit(self.judging.of(probabilities_RC)) - logit(self.chance_C)
        nothing_RC = np.log1p(-self.judging.of(probabilities_RC)) - np.log1p(-self.chance_C)
        surprise_R = (nothing_RC + labels_RC * odds_RC).sum(axis=1)
        return np.asarray(self.weight * surprise_R + self.bias)

    def log_ratio_one_off(self, probabilities_RC: FloatArray, labels_RC: Labels) -> FloatArray:
        """Return the ratio of `log_ratio` if one label is added or removed, R x C."""
        odds_RC = logit(self.judging.of(probabilities_RC)) - logit(self.chance_C)
        change_RC = np.where(labels_RC, -odds_RC, odds_RC)
        ratio_R1 = self.log_ratio(probabilities_RC, labels_RC)[:, None]
        return np.asarray(ratio_R1 + self.weight * change_RC)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """The estimated shares among matches that are right; they sum to 1.

    Attributes:
        right: The share whose labels are right.
        one_off: The share with one label too many or missing.
        random: The share with the labels of a random other image.
    """

    right: float
    one_off: float
    random: float


@dataclass(frozen=True, kw_only=True)
class ExpectedGain:
    """The expected gain of each transfer.

    Attributes:
        right_R: The probability that the transferred label set is exactly right.
        gain_R: The expected change of macro F1 by each override. Overrides are made one after
            another, the most certain first.
        error_R: The standard deviation of the gain over resampled held-out images.
        made_R: Whether the override is made, which is the case if its gain is not negative.
        shares: The estimated shares of right and wrong labels.
    """

    right_R: FloatArray
    gain_R: FloatArray
    error_R: FloatArray
    made_R: NDArray[np.bool_]
    shares: Shares


def learn(held_out: HeldOut, *, seed: int) -> Judge:
    """Learn a judge from held-out images.

    Args:
        held_out: The images.
        seed: The seed that pairs images with the labels of others.
    """
    truth_HC = held_out.truth_HC
    plain = Judge(
        submitted=_calibration(held_out.submitted_HC, truth_HC),
        judging=_calibration(held_out.judging_HC, truth_HC),
        weight=1.0,
        bias=0.0,
        chance_C=(truth_HC.sum(axis=0) + 0.5) / (len(truth_HC) + 1),
    )
    other_HC = truth_HC[np.random.default_rng(seed).permutation(len(truth_HC))]
    surprise = np.concatenate(
        [plain.log_ratio(held_out.judging_HC, labels) for labels in (truth_HC, other_HC)]
    )
    weight, bias = _logistic(surprise, np.repeat([1, 0], len(truth_HC)))
    return replace(plain, weight=weight, bias=bias)


def weigh(
    judge: Judge,
    submitted_NC: FloatArray,
    predicted_NC: Labels,
    transfers: Transfers,
    *,
    seed: int,
    prior: FloatArray = PRIOR,
) -> ExpectedGain:
    """Return the expected gain of each transfer, without errors (see `weigh_with_errors`).

    Args:
        judge: The judge of label sets.
        submitted_NC: The probabilities that make the submission, of all images that are scored
            together.
        predicted_NC: The classifier's labels for these images.
        transfers: The transfers.
        seed: The seed of the drawn label matrices.
        prior: The numbers of earlier matches with right labels, with one label off, and with the
            labels of a random image.
    """
    others = _draw_others(judge.submitted.of(submitted_NC), predicted_NC, transfers.rows_R, seed)
    return _weigh(judge, submitted_NC, predicted_NC, transfers, others, seed, prior)


def weigh_with_errors(
    held_out: HeldOut,
    submitted_NC: FloatArray,
    predicted_NC: Labels,
    transfers: Transfers,
    *,
    seed: int,
) -> ExpectedGain:
    """Return the expected gain of each transfer, like `weigh`, with standard errors.

    The labels of images without a transfer are drawn once, for all resamplings.

    Args:
        held_out: The images to learn from.
        submitted_NC: As for `weigh`.
        predicted_NC: As for `weigh`.
        transfers: As for `weigh`.
        seed: The seed of the resampling and of the drawn label matrices.
    """
    judge = learn(held_out, seed=seed)
    others = _draw_others(judge.submitted.of(submitted_NC), predicted_NC, transfers.rows_R, seed)
    found = _weigh(judge, submitted_NC, predicted_NC, transfers, others, seed)
    rng = np.random.default_rng(seed)
    gains = []
    for _ in range(RESAMPLINGS):
        drawn = rng.integers(len(held_out.truth_HC), size=len(held_out.truth_HC))
        resampled = HeldOut(
            submitted_HC=held_out.submitted_HC[drawn],
            judging_HC=held_out.judging_HC[drawn],
            truth_HC=held_out.truth_HC[drawn],
        )
        again = learn(resampled, seed=seed)
        gains.append(_weigh(again, submitted_NC, predicted_NC, transfers, others, seed).gain_R)
    return replace(found, error_R=np.std(gains, axis=0))


def _weigh(
    judge: Judge,
    submitted_NC: FloatArray,
    predicted_NC: Labels,
    transfers: Transfers,
    others: "_Counts",
    seed: int,
    prior: FloatArray = PRIOR,
) -> ExpectedGain:
    hypotheses = _Hypotheses.of(judge, transfers)
    shares = _estimate_shares(hypotheses, transfers, prior)
    right_R, off_RC, random_R = hypotheses.posterior(shares)
    said_RC = judge.submitted.of(submitted_NC[transfers.rows_R])
    judged_R = transfers.judged_R
    said_RC[judged_R] = judge.judging.of(transfers.judging_RC[judged_R])
    labels_RC = transfers.labels_RC
    like_match_R = right_R + off_RC.sum(axis=1)
    expected_RC = random_R[:, None] * said_RC + np.where(
        labels_RC, like_match_R[:, None] - off_RC, off_RC
    )
    gain_R = _gains(
        expected_RC, predicted_NC[transfers.rows_R], labels_RC, others, np.argsort(-right_R), seed
    )
    return ExpectedGain(
        right_R=right_R,
        gain_R=gain_R,
        error_R=np.zeros(len(gain_R)),
        made_R=gain_R >= 0,
        shares=Shares(right=float(shares[0]), one_off=float(shares[1]), random=float(shares[2])),
    )


@dataclass(frozen=True, kw_only=True)
class _Hypotheses:
    """What can be true of each transfer.

    Attributes:
        likelihood: Relative likelihoods, R x (1 + C + 1): of the transferred labels, of each change
            of them by one label times the prior probability of this change among all changes, and
            of labels of a random image.
        confidence_R: The confidence that the match is right.
    """

    likelihood: FloatArray
    confidence_R: FloatArray

    @classmethod
    def of(cls, judge: Judge, transfers: Transfers) -> "_Hypotheses":
        """Return the hypotheses; all are equally likely if labels are not judged."""
        judged_R = transfers.judged_R
        said_RC, labels_RC = transfers.judging_RC[judged_R], transfers.labels_RC[judged_R]
        ratios = np.zeros((len(judged_R), labels_RC.shape[1] + 2))
        ratios[judged_R, 0] = judge.log_ratio(said_RC, labels_RC)
        ratios[judged_R, 1:-1] = judge.log_ratio_one_off(said_RC, labels_RC)
        likelihood = np.exp(ratios - ratios.max(axis=1, keepdims=True))
        likelihood[:, 1:-1] *= _changes(transfers.labels_RC, judge.chance_C)
        return cls(likelihood=likelihood, confidence_R=transfers.confidence_R)

    def posterior(self, shares: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the probability of right labels, R, of each change, R x C, and of random ones, R.

        Args:
            shares: The shares of the three among right matches. A wrong match has the labels of a
                random image.
        """
        joint = self.likelihood * self.confidence_R[:, None]
        joint[:, 0] *= shares[0]
        joint[:, 1:-1] *= shares[1]
        joint[:, -1] = self.likelihood[:, -1] * (
            self.confidence_R * shares[2] + 1 - self.confidence_R
        )
        joint /= joint.sum(axis=1, keepdims=True)
        return joint[:, 0], joint[:, 1:-1], joint[:, -1]


def _changes(labels_RC: Labels, chance_C: FloatArray) -> FloatArray:
    """Return the prior probability of each added or removed label, R x C, if one label is off.

    Labels too many and missing labels are equally common. Any label may be one too many, and a
    missing one follows the frequency of labels. No image is without labels, so the only label of an
    image is never removed.
    """
    too_many_RC = labels_RC * (labels_RC.sum(axis=1, keepdims=True) > 1)
    missing_RC = (1 - labels_RC) * chance_C
    return _normalised(_normalised(too_many_RC) + _normalised(missing_RC))


def _normalised(weights_RC: FloatArray) -> FloatArray:
    """Return weights whose rows sum to 1, or to 0 where all weights are 0."""
    total_R1 = weights_RC.sum(axis=1, keepdims=True)
    return np.asarray(weights_RC / np.where(total_R1 > 0, total_R1, 1))


def _estimate_shares(
    hypotheses: _Hypotheses, transfers: Transfers, prior: FloatArray
) -> FloatArray:
    """Return the most likely shares of right, one-off and random labels, given the prior.

    Labels that are not judged do not bear on them, so they are left out.
    """
    judged_R, confidence_R = transfers.judged_R, transfers.confidence_R
    shares: FloatArray = prior / prior.sum()
    for _ in range(STEPS):
        right_R, off_RC, random_R = hypotheses.posterior(shares)
        # Random labels may also be due to a wrong match, which says nothing of right ones.
        of_right_R = confidence_R * shares[2] / (confidence_R * shares[2] + 1 - confidence_R)
        found = np.stack([right_R, off_RC.sum(axis=1), random_R * of_right_R])
        counts = found[:, judged_R].sum(axis=1) + prior
        shares = counts / counts.sum()
    return shares


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """The counts of drawn label matrices, from which the F1 of each class follows.

    Attributes:
        hits_SC: The number of images that are predicted to have the label and have it.
        true_SC: The number of images that have the label.
        predicted_C: The number of images that are predicted to have the label.
    """

    hits_SC: NDArray[np.int64]
    true_SC: NDArray[np.int64]
    predicted_C: NDArray[np.int64]


def _draw_others(
    expected_NC: FloatArray, predicted_NC: Labels, rows_R: NDArray[np.int64], seed: int
) -> _Counts:
    """Draw the labels of all images without a transfer."""
    rng = np.random.default_rng([seed, 0])
    is_other_N = np.ones(len(expected_NC), bool)
    is_other_N[rows_R] = False
    expected = expected_NC[is_other_N].astype(np.float32)
    predicted = predicted_NC[is_other_N].astype(bool)
    hits, true = [], []
    for _ in range(DRAWS):  # one at a time, to limit memory
        drawn = rng.random(expected.shape, dtype=np.float32) < expected
        true.append(np.count_nonzero(drawn, axis=0))
        hits.append(np.count_nonzero(drawn & predicted, axis=0))
    return _Counts(
        hits_SC=np.stack(hits), true_SC=np.stack(true), predicted_C=predicted.sum(axis=0)
    )


def _gains(
    expected_RC: FloatArray,
    predicted_RC: Labels,
    labels_RC: Labels,
    others: _Counts,
    order_R: NDArray[np.int64],
    seed: int,
) -> FloatArray:
    """Return the gain of each override after the earlier overrides that were made.

    Both sides of a comparison have the same drawn labels, so their difference has little noise.
    """
    rng = np.random.default_rng([seed, 1])
    drawn_SRC = rng.random((DRAWS, *expected_RC.shape), dtype=np.float32) < expected_RC
    hits_SC = others.hits_SC + (drawn_SRC & predicted_RC.astype(bool)).sum(axis=1)
    true_SC = others.true_SC + drawn_SRC.sum(axis=1)
    predicted_C = others.predicted_C + predicted_RC.sum(axis=0, dtype=np.int64)
    changes_RC = labels_RC.astype(np.int64) - predicted_RC
    gain_R = np.zeros(len(expected_RC))
    for r in order_R:
        c = np.flatnonzero(changes_RC[r])  # the other classes stay as they are
        hits = hits_SC[:, c] + changes_RC[r, c] * drawn_SRC[:, r, c]
        predicted = predicted_C[c] + changes_RC[r, c]
        before, after = (
            2 * h / np.maximum(true_SC[:, c] + p, 1)
            for h, p in ((hits_SC[:, c], predicted_C[c]), (hits, predicted))
        )
        gain_R[r] = (after - before).sum() / (DRAWS * len(predicted_C))
        if gain_R[r] >= 0:
            hits_SC[:, c], predicted_C[c] = hits, predicted
    return gain_R


def _calibration(probabilities_HC: FloatArray, truth_HC: Labels) -> Calibration:
    # Odds in steps of 0.05: the same fit, and thousands of times fewer rows.
    steps_HC = np.rint(20 * logit(np.clip(probabilities_HC, EDGE, 1 - EDGE))).astype(np.int64)
    lowest = steps_HC.min()
    counts = np.bincount((2 * (steps_HC - lowest) + truth_HC).ravel())
    cells = np.flatnonzero(counts)
    slope, offset = _logistic((cells // 2 + lowest) / 20, cells % 2, counts[cells])
    return Calibration(slope=slope, offset=offset)


def _logistic(
    x: FloatArray, is_one: NDArray[np.integer], counts: NDArray[np.integer] | None = None
) -> tuple[float, float]:
    """Return the slope and offset of a logistic fit; the slope is 0 if it would be negative.

    The fit is regularised, because a few images can be separated perfectly by chance. Each row
    counts once, unless `counts` are given.
    """
    if len(set(is_one.tolist())) == 2:
        fitted = LogisticRegression().fit(x[:, None], is_one, sample_weight=counts)
        if fitted.coef_[0, 0] > 0:
            return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return 0.0, float(logit(np.clip(np.average(is_one, weights=counts), EDGE, 1 - EDGE)))
