"""Shares of labels among unlabelled images, estimated from their probabilities alone.

Saerens, Latinne & Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
Probabilities (2002): expectation maximisation, of each class by itself. It needs posteriors that
mean what they say, so they are calibrated first (Platt 1999).

Axes: N labelled rows, Q asked rows, C classes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from classify.layers import Change, Labels, Probabilities, classes_to_fit, logits

Floats = NDArray[np.float64]

STEPS, CLOSE = 300, 1e-7


def learn_shares(probabilities_NC: Probabilities, truth_NC: Labels, _: NDArray[np.str_]) -> Change:
    """Calibrates each class, then moves it to the share that a batch of asked rows seems to have.

    What is asked together is one batch: of it all, and of no label, the shares are estimated.
    Classes of too few images, and those whose probabilities are worth nothing, stay as they are.
    """
    lines = {c: _platt(probabilities_NC[:, c], truth_NC[:, c]) for c in classes_to_fit(truth_NC)}
    slopes = {c: line for c, line in lines.items() if line[0] > 0}  # else the order would turn
    told = sorted(slopes)
    slope, offset = np.array([slopes[c] for c in told]).reshape(-1, 2).T
    before = truth_NC[:, told].mean(axis=0)

    def apply(probabilities_QC: Probabilities, _: NDArray[np.str_]) -> Probabilities:
        posterior = expit(slope * logits(probabilities_QC[:, told]) + offset)
        after = shares_of(posterior, before)
        moved = probabilities_QC.copy()
        moved[:, told] = moved_to(posterior, before, after)
        return moved

    kept = {
        "classes": told, "slope": slope.tolist(), "offset": offset.tolist(),
        "share_among_labelled": before.tolist(),
    }  # fmt: skip
    return Change(apply=apply, kept=kept)


def shares_of(posterior_QC: Floats, before_C: Floats) -> Floats:
    """The likeliest share of each class among these rows.

    posterior_QC: calibrated where the shares are before_C. Never exactly 0 or 1.
    """
    edge = 1 / (len(posterior_QC) + 2)
    share_C = before_C.clip(edge, 1 - edge)
    for _ in range(STEPS):
        last_C = share_C
        share_C = moved_to(posterior_QC, before_C, share_C).mean(axis=0).clip(edge, 1 - edge)
        if np.abs(share_C - last_C).max(initial=0) < CLOSE:
            break
    return share_C


def moved_to(posterior_QC: Floats, before_C: Floats, after_C: Floats) -> Floats:
    """The posteriors where shares are after_C instead of before_C (equation 2.4)."""
    has_QC = posterior_QC * (after_C / before_C)
    lacks_QC = (1 - posterior_QC) * ((1 - after_C) / (1 - before_C))
    return np.asarray(has_QC / (has_QC + lacks_QC))


def _platt(scores_N: Probabilities, truth_N: Labels) -> tuple[float, float]:
    """Slope and offset of the logit."""
    model = LogisticRegression(C=1e3, solver="newton-cholesky")
    model.fit(logits(scores_N)[:, None], truth_N)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
