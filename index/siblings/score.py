"""One score for siblings: a logistic regression on the features of a query and an identity.

No weight is negative, so the score never falls where a feature rises. Axes: R rows, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded at their first use, which many lookups do without
from numpy.typing import NDArray

from index.siblings.features import FEATURES

FloatArray = NDArray[np.float64]

RIDGE = 1.0  # the weight of the squared weights, in rows
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class SiblingScore:
    """A score, ln(1 + odds), where the odds are those of a logistic regression on features.

    The odds are those of the rows that it was fitted to. How likely a claim is right at a score is
    measured afterwards, see `calibrate_sibling`.

    Attributes:
        weights: The weight of each feature, in the order of FEATURES.
        intercept: The logarithm of the odds of a row whose features are 0.
    """

    weights: tuple[float, ...]
    intercept: float

    def of(self, values_RF: FloatArray) -> FloatArray:
        """Return the score of each row, R; at least 0.

        Example:
            >>> score = SiblingScore(weights=(2.0, 0.0, 0.0, 1.0, 0.0), intercept=-3.0)
            >>> score.of(np.array([[0.9, 0.8, 0.3, 1.0, 0.0], [0.9, 0.8, 0.3, 5.0, 0.0]])).round(1)
            array([0.6, 3.8])
        """
        return np.asarray(np.logaddexp(0.0, values_RF @ np.array(self.weights) + self.intercept))

    def in_words(self) -> str:
        """Return the features that count with their weights, for a terminal."""
        weights = zip(FEATURES, self.weights, strict=True)
        return ", ".join(f"{name} {weight:.2g}" for name, weight in weights if weight > 0)


def fit_score(values_RF: FloatArray, right_R: NDArray[np.bool_]) -> SiblingScore:
    """Fit the score to rows whose truth is known.

    The features are standardised, so the ridge penalty treats all of them alike.

    Args:
        values_RF: The features.
        right_R: Whether each row is about a sibling.
    """
    mean_F, deviation_F = values_RF.mean(axis=0), values_RF.std(axis=0)
    deviation_F = np.where(deviation_F > 0, deviation_F, 1.0)
    standard_RF = (values_RF - mean_F) / deviation_F
    sign_R = np.where(right_R, 1.0, -1.0)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        margin_R = sign_R * (standard_RF @ weights[1:] + weights[0])
        slope_R = -sign_R * scipy.special.expit(-margin_R)
        gradient = np.append(slope_R.sum(), standard_RF.T @ slope_R + RIDGE * weights[1:])
        penalty = RIDGE / 2 * float(weights[1:] @ weights[1:])
        return float(np.logaddexp(0.0, -margin_R).sum()) + penalty, gradient

    kinds = values_RF.shape[1]
    bounds = [(None, None), *[(0.0, None)] * kinds]
    found = scipy.optimize.minimize(
        loss, np.zeros(kinds + 1), jac=True, bounds=bounds, method="L-BFGS-B"
    ).x
    weights_F = found[1:] / deviation_F
    return SiblingScore(
        weights=tuple(weights_F.tolist()), intercept=float(found[0] - weights_F @ mean_F)
    )


def cross_fitted_scores(
    values_RF: FloatArray, right_R: NDArray[np.bool_], identities_R: Sequence[str], *, seed: int
) -> FloatArray:
    """Return the score of each row by a fit to the rows of other identities, R.

    Args:
        values_RF: The features.
        right_R: Whether each row is about a sibling.
        identities_R: The identity of the query of each row.
        seed: The seed of the folds.
    """
    fold_R = fold_of_identities(identities_R, seed=seed)
    score_R = np.zeros(len(values_RF))
    for fold in np.unique(fold_R):
        own_R = fold_R == fold
        score_R[own_R] = fit_score(values_RF[~own_R], right_R[~own_R]).of(values_RF[own_R])
    return score_R


def fold_of_identities(identities_R: Sequence[str], *, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row; all rows of one identity are in the same."""
    names = sorted(set(identities_R))
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: n % FOLDS for n, place in enumerate(order)}
    return np.array([fold_of[name] for name in identities_R], np.int64)
