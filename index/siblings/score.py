"""One score for a sibling: a logistic regression on the evidence.

Every weight is at least 0, so more evidence never lowers the score. Axes: R rows of evidence, E
kinds of evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from index.siblings.evidence import EVIDENCE

FloatArray = NDArray[np.float64]

RIDGE = 1.0  # the weight of the squared weights, in rows
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class SiblingScore:
    """A score of evidence: ln(1 + odds), where the odds are those of a logistic regression.

    The odds are those of the rows that it was fitted to. How likely a claim is right at a score is
    measured afterwards, see `calibrate_sibling`.

    Attributes:
        weights: The weight of each kind of evidence, in the order of EVIDENCE.
        intercept: The logarithm of the odds of a row whose evidence is 0.
    """

    weights: tuple[float, ...]
    intercept: float

    def of(self, values_RE: FloatArray) -> FloatArray:
        """Return the score of each row, R; at least 0.

        Example:
            >>> score = SiblingScore(weights=(2.0, 0.0, 0.0, 1.0, 0.0), intercept=-3.0)
            >>> score.of(np.array([[0.9, 0.8, 0.3, 1.0, 0.0], [0.9, 0.8, 0.3, 5.0, 0.0]])).round(1)
            array([0.6, 3.8])
        """
        return np.asarray(np.logaddexp(0.0, values_RE @ np.array(self.weights) + self.intercept))

    def in_words(self) -> str:
        """Return the kinds of evidence that count, the heaviest first, for a terminal."""
        order = sorted(zip(EVIDENCE, self.weights, strict=True), key=lambda one: -one[1])
        return ", ".join(f"{name} {weight:.2g}" for name, weight in order if weight > 0)


def fit_score(values_RE: FloatArray, right_R: NDArray[np.bool_]) -> SiblingScore:
    """Fit the score to rows whose truth is known.

    The evidence is standardised, so the ridge penalty treats all kinds alike.

    Args:
        values_RE: The evidence.
        right_R: Whether each row is about a sibling.
    """
    mean_E, deviation_E = values_RE.mean(axis=0), values_RE.std(axis=0)
    deviation_E = np.where(deviation_E > 0, deviation_E, 1.0)
    standard_RE = (values_RE - mean_E) / deviation_E
    sign_R = np.where(right_R, 1.0, -1.0)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        margin_R = sign_R * (standard_RE @ weights[1:] + weights[0])
        slope_R = -sign_R * expit(-margin_R)
        gradient = np.append(slope_R.sum(), standard_RE.T @ slope_R + RIDGE * weights[1:])
        penalty = RIDGE / 2 * float(weights[1:] @ weights[1:])
        return float(np.logaddexp(0.0, -margin_R).sum()) + penalty, gradient

    kinds = values_RE.shape[1]
    bounds = [(None, None), *[(0.0, None)] * kinds]
    found = minimize(loss, np.zeros(kinds + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    weights_E = found[1:] / deviation_E
    return SiblingScore(
        weights=tuple(weights_E.tolist()), intercept=float(found[0] - weights_E @ mean_E)
    )


def cross_fitted_scores(
    values_RE: FloatArray, right_R: NDArray[np.bool_], identities_R: Sequence[str], *, seed: int
) -> FloatArray:
    """Return the score of each row by a fit to the rows of other identities, R.

    Args:
        values_RE: The evidence.
        right_R: Whether each row is about a sibling.
        identities_R: The identity of the query of each row.
        seed: The seed of the folds.
    """
    fold_R = fold_of_identities(identities_R, seed=seed)
    score_R = np.zeros(len(values_RE))
    for fold in np.unique(fold_R):
        own_R = fold_R == fold
        score_R[own_R] = fit_score(values_RE[~own_R], right_R[~own_R]).of(values_RE[own_R])
    return score_R


def fold_of_identities(identities_R: Sequence[str], *, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row; all rows of one identity are in the same."""
    names = sorted(set(identities_R))
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: n % FOLDS for n, place in enumerate(order)}
    return np.array([fold_of[name] for name in identities_R], np.int64)
