"""Stackers: a model for each class that reads what the members say of all classes (Wolpert 1992).

So that labels which come together, or never do, speak for or against one another. The inputs of a
class are its own logit by every member and the members' mean logit of all classes: what one member
alone says of another class adds inputs by the dozen, and for rare labels little but noise.

Axes: M members, N rows that are learned from, Q rows that are asked about, C classes, F = M + C.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from classify.ensembles import Combiner, Floats, mean
from classify.layers import Labels, Probabilities, classes_to_fit, logits

# The penalty holds weights near 0. That of the members' own logits it hardly touches, so that
# without evidence of other labels a stacker is the calibrated members.
INVERSE_PENALTY, OWN_WIDTH = 0.1, 10.0


def fit_logistic(members_MNC: Probabilities, truth_NC: Labels) -> Combiner:
    """Logistic regression with an L2 penalty on standardised inputs. `kept`: weights of logits."""
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
    """Gradient boosting of small trees on histograms; too much to keep."""
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


class _Inputs:
    """Q x F of one class after the other."""

    def __init__(self, members_MQC: Probabilities) -> None:
        self.logits_MQC = logits(members_MQC)
        self.means_QC = self.logits_MQC.mean(axis=0)

    def of(self, c: int) -> NDArray[np.float64]:
        """The class's column among the means is 0, for its own logits say it already."""
        inputs_QF = np.concatenate([self.logits_MQC[:, :, c].T, self.means_QC], axis=1)
        inputs_QF[:, len(self.logits_MQC) + c] = 0
        return inputs_QF


def _others(classes: tuple[int, ...], count: int) -> tuple[int, ...]:
    return tuple(sorted(set(range(count)) - set(classes)))
