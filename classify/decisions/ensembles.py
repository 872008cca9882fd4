"""Combine the probabilities of several members into one.

Every combiner is fitted on labelled rows that its members did not learn. It treats rows one by one:
the result for a row does not depend on the other rows.

Stacking (`logistic`, `boosting`) fits a model for each class that reads what the members say of all
classes (Wolpert 1992), so labels that occur together, or never do, support or exclude one another.
The inputs of a class are its own logit from every member and the members' mean logit of all
classes. Separate logits of the other classes from each member would add dozens of inputs, which are
mostly noise for rare labels.

Axes: M members, N rows that are learned from, Q queried rows, C classes, F = M + C inputs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from classify.decisions.layers import (
    EDGE,
    Combiner,
    Floats,
    Labels,
    Probabilities,
    classes_to_fit,
    logits,
)
from classify.decisions.recurrent import fit_recurrent
from classify.decisions.settings import How

# The penalty of the logistic stacker keeps weights near 0. It hardly affects the weights of the
# members' own logits, so a stacker that learns nothing from other labels calibrates the members.
INVERSE_PENALTY, OWN_WIDTH = 0.1, 10.0


def fit_combiner(how: How, members_MNC: Probabilities, truth_NC: Labels, *, seed: int) -> Combiner:
    """Fit a combiner.

    The seed is used by `boosting` and `recurrent`; the other ways are deterministic.
    """
    if how == "mean":
        return Combiner(combine=mean)
    if how == "rank_mean":
        return fit_rank_mean(members_MNC)
    if how == "weighted":
        return fit_weighted(members_MNC, truth_NC)
    if how == "logistic":
        return fit_logistic(members_MNC, truth_NC)
    fit = fit_boosting if how == "boosting" else fit_recurrent
    return fit(members_MNC, truth_NC, seed=seed)


def mean(members_MQC: Probabilities) -> Floats:
    """Return the mean over members, float64 Q x C."""
    return np.asarray(members_MQC.mean(axis=0, dtype=np.float64))


def fit_weighted(members_MNC: Probabilities, truth_NC: Labels) -> Combiner:
    """Fit a weighted mean with the least log loss; weights are at least 0 and sum to 1.

    Log loss is used instead of macro F1 for two reasons. It is convex in the weights, so there is
    one best solution, and every image and class counts, while F1 depends on the few images near a
    threshold.
    """
    weights_M = best_weights(members_MNC, truth_NC)
    return Combiner(
        combine=lambda asked_MQC: np.tensordot(weights_M, asked_MQC.astype(np.float64), axes=1),
        kept={"weights": weights_M.tolist()},
    )


def best_weights(members_MNC: Probabilities, truth_NC: Labels) -> NDArray[np.float64]:
    """Return the weights with the least log loss, float64 M.

    They are found by sequential least squares programming (Kraft 1988), starting from equal
    weights.
    """
    count = len(members_MNC)
    equal_M = np.full(count, 1 / count)
    if count == 1:
        return equal_M
    rows = np.clip(members_MNC.reshape(count, -1).astype(np.float64), EDGE, 1 - EDGE)
    right = np.where(truth_NC.ravel(), rows, 1 - rows)  # probability of the right answer
    found = minimize(
        lambda weights_M: _log_loss(weights_M, right),
        equal_M,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-9},
    )
    weights_M = np.clip(found.x, 0, None)
    return np.asarray(weights_M / weights_M.sum())


def fit_rank_mean(members_MNC: Probabilities) -> Combiner:
    """Fit the mean of ranks within each class, mapped back to probabilities.

    Ranks are those among the rows that are learned from, so a single row has a rank too. The mean
    rank is mapped to the mean probability with that rank: the order within a class follows the
    ranks, and an image still has a most likely class.
    """
    sorted_MNC = np.sort(members_MNC.astype(np.float64), axis=1)
    scale_NC = np.sort(mean(members_MNC), axis=0)

    def combine(asked_MQC: Probabilities) -> Floats:
        joined_QC = np.empty(asked_MQC.shape[1:])
        for c in range(asked_MQC.shape[2]):
            ranks_MQ = [
                ranks_among(sorted_NC[:, c], asked_QC[:, c])
                for sorted_NC, asked_QC in zip(sorted_MNC, asked_MQC, strict=True)
            ]
            joined_QC[:, c] = _at_rank(scale_NC[:, c], np.mean(ranks_MQ, axis=0))
        return joined_QC

    return Combiner(combine=combine)


def ranks_among(rising_N: NDArray[np.float64], scores_Q: Floats) -> NDArray[np.float64]:
    """Return ranks in (0, 1]: the share of N + 1 scores that a score is not below, itself included.

    Ties count half.

    Args:
        rising_N: Sorted scores to rank among.
        scores_Q: Scores to rank.

    Example:
        >>> ranks_among(np.array([0.1, 0.2, 0.3]), np.array([0.25])).tolist()
        [0.75]
    """
    scores_Q = scores_Q.astype(np.float64)
    below_Q = np.searchsorted(rising_N, scores_Q, side="left")
    up_to_Q = np.searchsorted(rising_N, scores_Q, side="right")
    return np.asarray(((below_Q + up_to_Q) / 2 + 1) / (len(rising_N) + 1))


def fit_logistic(members_MNC: Probabilities, truth_NC: Labels) -> Combiner:
    """Fit logistic regressions with an L2 penalty on standardised inputs.

    Their weights are stored in `kept`.
    """
    members, count = len(members_MNC), truth_NC.shape[1]
    classes = classes_to_fit(truth_NC)
    weights_CF, offset_C = np.zeros((count, members + count)), np.zeros(count)
    inputs = _Inputs(members_MNC)
    for c in classes:
        inputs_NF = inputs.of(c)
        centre_F, width_F = inputs_NF.mean(axis=0), inputs_NF.std(axis=0) + 1e-9
        width_F[:members] /= OWN_WIDTH
        model = LogisticRegression(C=INVERSE_PENALTY, solver="newton-cholesky")
        model.fit((inputs_NF - centre_F) / width_F, truth_NC[:, c])
        # On the scale of the logits, so that the stored weights can be used on their own.
        weights_CF[c] = model.coef_[0] / width_F
        offset_C[c] = model.intercept_[0] - weights_CF[c] @ centre_F

    def combine(asked_MQC: Probabilities) -> Floats:
        asked, said_QC = _Inputs(asked_MQC), mean(asked_MQC)
        for c in classes:
            said_QC[:, c] = expit(asked.of(c) @ weights_CF[c] + offset_C[c])
        return said_QC

    kept = {
        "of_own_logits": weights_CF[:, :members].tolist(),
        "of_mean_logits": weights_CF[:, members:].tolist(),
        "offset": offset_C.tolist(),
    }
    return Combiner(combine=combine, without=_others(classes, count), kept=kept)


def fit_boosting(members_MNC: Probabilities, truth_NC: Labels, *, seed: int) -> Combiner:
    """Fit gradient boosting of small trees on histograms; the trees are too large to be stored."""
    classes, inputs = classes_to_fit(truth_NC), _Inputs(members_MNC)
    models = {
        c: HistGradientBoostingClassifier(
            max_iter=40, learning_rate=0.1, max_leaf_nodes=6, max_bins=63, l2_regularization=1.0,
            early_stopping=False, random_state=seed,
        ).fit(inputs.of(c), truth_NC[:, c])
        for c in classes
    }  # fmt: skip

    def combine(asked_MQC: Probabilities) -> Floats:
        asked, said_QC = _Inputs(asked_MQC), mean(asked_MQC)
        for c, model in models.items():
            said_QC[:, c] = model.predict_proba(asked.of(c))[:, 1]
        return said_QC

    return Combiner(combine=combine, without=_others(classes, truth_NC.shape[1]))


def _log_loss(
    weights_M: NDArray[np.float64], right: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return the log loss and its gradient.

    `right` contains the probability of the right answer, M x (rows times classes).
    """
    joined = np.maximum(weights_M @ right, EDGE)
    return float(-np.log(joined).mean()), -(right @ (1 / joined)) / right.shape[1]


def _at_rank(rising_N: Floats, rank_Q: Floats) -> NDArray[np.float64]:
    """Return the inverse of `ranks_among`; beyond the ends it is halfway to 0 and to 1."""
    n = len(rising_N)
    at = np.concatenate([[1], np.arange(n) + 1.5, [n + 1]]) / (n + 1)
    scale = np.concatenate([[rising_N[0] / 2], rising_N, [(rising_N[-1] + 1) / 2]])
    return np.asarray(np.interp(rank_Q, at, scale))


class _Inputs:
    """Provide the inputs of one class after the other, Q x F."""

    def __init__(self, members_MQC: Probabilities) -> None:
        self.logits_MQC = logits(members_MQC)
        self.means_QC = self.logits_MQC.mean(axis=0)

    def of(self, c: int) -> NDArray[np.float64]:
        # The class's column among the means is 0, because its own logits contain it already.
        inputs_QF = np.concatenate([self.logits_MQC[:, :, c].T, self.means_QC], axis=1)
        inputs_QF[:, len(self.logits_MQC) + c] = 0
        return inputs_QF


def _others(classes: tuple[int, ...], count: int) -> tuple[int, ...]:
    return tuple(sorted(set(range(count)) - set(classes)))
