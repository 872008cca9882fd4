"""How likely a claim with just this score is right.

The probability of being right at a score is one minus the local false discovery rate (Efron et al.
2001). It is taken to rise with the score, and is estimated by isotonic regression on the scores of
the calibration set, which is Grenander's estimator of the ratio of the densities of right and wrong
claims. A cumulative precision would say too much: of claims that barely reach a threshold, fewer
are right than of all claims above it.

Axes: S scores, M masses at scores.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded at their first use, which many lookups do without
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# What was not seen can still occur: half a false claim (Jeffreys 1946), which has any score with
# equal probability.
UNSEEN_FALSE = 0.5
# An isotonic estimate is too high at its end (Woodroofe & Sun 1993), so right claims from this
# quantile on share one step.
LAST_STEP = 0.8


@dataclass(frozen=True, kw_only=True)
class ClaimProbability:
    """The probability that a claim is right, a step function of its score.

    Attributes:
        scores: The scores at which steps begin, rising.
        probabilities: The probability from each on; below the first score it is 0.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def at(self, score: FloatArray) -> FloatArray:
        """Return the probability at scores, in the same shape.

        Example:
            >>> steps = ClaimProbability(scores=(2.0, 5.0), probabilities=(0.3, 0.9))
            >>> steps.at(np.array([1.0, 2.0, 7.0])).tolist()
            [0.0, 0.3, 0.9]
        """
        steps = np.searchsorted(self.scores, score, side="right")
        return np.concatenate([[0.0], self.probabilities])[steps]


def claim_probability(
    right: tuple[FloatArray, FloatArray], wrong: tuple[FloatArray, FloatArray], trials: int
) -> ClaimProbability:
    """Return the probability of being right from the masses of right and wrong claims.

    Args:
        right: The scores of right claims, and the share of all queries that each stands for.
        wrong: The scores of wrong claims, and the share of all queries that each stands for.
        trials: The number of independent queries without a true match, and of those that are
            assumed beside them.

    Example:
        >>> right, wrong = np.array([3.0, 5.0, 5.0, 5.0]), np.array([1.0, 3.0])
        >>> found = claim_probability((right, np.full(4, 0.1)), (wrong, np.full(2, 0.3)), 9)
        >>> found.at(np.array([1.0, 3.0, 5.0])).round(2).tolist()
        [0.0, 0.24, 0.95]
    """
    if not len(right[0]):
        return ClaimProbability(scores=(), probabilities=())
    every = np.unique(np.concatenate([right[0], wrong[0]]))
    unseen = wrong[1].sum() * UNSEEN_FALSE / (trials + 1) * _widths(every)
    wrong = np.concatenate([wrong[0], every]), np.concatenate([wrong[1], unseen])
    last = np.quantile(right[0], LAST_STEP, weights=right[1], method="inverted_cdf")
    right, wrong = ((np.minimum(scores, last), masses) for scores, masses in (right, wrong))
    scores_S = np.unique(np.concatenate([right[0], wrong[0]]))
    right_S, wrong_S = (_summed(scores_S, *masses) for masses in (right, wrong))
    mass_S = right_S + wrong_S
    held = mass_S > 0
    fitted = scipy.optimize.isotonic_regression(
        right_S[held] / mass_S[held], weights=mass_S[held]
    ).x
    first = np.flatnonzero(np.diff(fitted, prepend=-1.0) > 0)
    return ClaimProbability(
        scores=tuple(scores_S[held][first].tolist()), probabilities=tuple(fitted[first].tolist())
    )


def masses_of_rate(scores_S: FloatArray, rate_S: FloatArray) -> FloatArray:
    """Return the masses at rising scores of which the rates are those at or above each score."""
    return np.asarray(rate_S - np.append(rate_S[1:], 0.0))


def _widths(scores_S: FloatArray) -> FloatArray:
    """Return the distance of each score from the one before, as shares of all."""
    if len(scores_S) == 1:
        return np.ones(1)
    return np.diff(scores_S, prepend=scores_S[0]) / np.ptp(scores_S)


def _summed(scores_S: FloatArray, scores_M: FloatArray, masses_M: FloatArray) -> FloatArray:
    places_M = np.searchsorted(scores_S, scores_M)
    return np.bincount(places_M, masses_M, minlength=len(scores_S)).astype(float)
