"""Ways of joining the probabilities of several members into one.

Every way is fitted on labelled rows that its members did not learn, and gives probabilities of any
rows, one by one: the answer of a row does not depend on what else is asked.

Stacking (`logistic`, `boosting`) is a model for each class that reads what the members say of all
classes (Wolpert 1992), so that labels which come together, or never do, speak for or against one
another. The inputs of a class are its own logit by every member and the members' mean logit of all
classes: what one member alone says of another class adds inputs by the dozen, and for rare labels
little but noise.

Axes: M members, N rows that are learned from, Q rows that are asked about, C classes, F = M + C.
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

# The penalty of the logistic stacker holds weights near 0. That of the members' own logits it
# hardly touches, so that without registration score of other labels a stacker is the calibrated members.
INVERSE_PENALTY, OWN_WIDTH = 0.1, 10.0


def fit_combiner(how: How, members_MNC: Probabilities, truth_NC: Labels, *, seed: int) -> Combiner:
    """Fit one way. seed: of `boosting` and `recurrent`; the others have nothing random."""
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
    return np.asarray(members_MQC.mean(axis=0, dtype=np.float64))


def fit_weighted(members_MNC: Probabilities, truth_NC: Labels) -> Combiner:
    """Fit a mean with the weights of least log loss, none below 0, summing to 1.

    It is log loss and not macro F1, because that is convex in the weights, so there is one best
    answer, and because every image and class counts, where F1 depends on the few images next to a
    threshold.
    """
    weights_M = best_weights(members_MNC, truth_NC)
    return Combiner(
        combine=lambda asked_MQC: np.tensordot(weights_M, asked_MQC.astype(np.float64), axes=1),
        kept={"weights": weights_M.tolist()},
    )


def best_weights(members_MNC: Probabilities, truth_NC: Labels) -> NDArray[np.float64]:
    """Return the weights by sequential least squares programming (Kraft 1988), from equal ones."""
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
    """Fit the mean of ranks within each class, put back on the scale of probabilities.

    Ranks are those among the rows that are learned from, so a single row has one. The mean rank
    becomes the mean probability that has that rank there: the order within a class is that of
    ranks, and an image still has a likeliest class.
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
    """Return ranks in (0, 1]: the share of N + 1 that a score is not below, counting itself.

    Ties count half.

    rising_N: the scores to rank among, sorted.
    """
    scores_Q = scores_Q.astype(np.float64)
    below_Q = np.searchsorted(rising_N, scores_Q, side="left")
    up_to_Q = np.searchsorted(rising_N, scores_Q, side="right")
    return np.asarray(((below_Q + up_to_Q) / 2 + 1) / (len(rising_N) + 1))


def fit_logistic(members_MNC: Probabilities, truth_NC: Labels) -> Combiner:
    """Fit logistic regressions with an L2 penalty on standardised inputs; `kept` has weights."""
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
        # Back on the scale of logits, so that the file's numbers need no others to be used.
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
    """Fit gradient boosting of small trees on histograms, which is too much to keep."""
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
    """The log loss and its gradient. right: M x (rows times classes)."""
    joined = np.maximum(weights_M @ right, EDGE)
    return float(-np.log(joined).mean()), -(right @ (1 / joined)) / right.shape[1]


def _at_rank(rising_N: Floats, rank_Q: Floats) -> NDArray[np.float64]:
    """The inverse of `ranks_among`; beyond the ends half-way to 0 and to 1."""
    n = len(rising_N)
    at = np.concatenate([[1], np.arange(n) + 1.5, [n + 1]]) / (n + 1)
    scale = np.concatenate([[rising_N[0] / 2], rising_N, [(rising_N[-1] + 1) / 2]])
    return np.asarray(np.interp(rank_Q, at, scale))


class _Inputs:
    """What is said of each row, Q x F, as one class after the other reads it."""

    def __init__(self, members_MQC: Probabilities) -> None:
        self.logits_MQC = logits(members_MQC)
        self.means_QC = self.logits_MQC.mean(axis=0)

    def of(self, c: int) -> NDArray[np.float64]:
        # The class's column among the means is 0, for its own logits say it already.
        inputs_QF = np.concatenate([self.logits_MQC[:, :, c].T, self.means_QC], axis=1)
        inputs_QF[:, len(self.logits_MQC) + c] = 0
        return inputs_QF


def _others(classes: tuple[int, ...], count: int) -> tuple[int, ...]:
    return tuple(sorted(set(range(count)) - set(classes)))
