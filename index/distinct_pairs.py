"""How alike distinct images look: the bulk of their correlations, and the tail behind it.

Axis N: images, each by the best of its candidates.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde, gumbel_r, norm

LARGEST_CORRELATION = 0.9999
LEAST_SPREAD_Z = 0.05
MIXTURE_STEPS = 30
TINY = 1e-300


def fisher_z(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fisher's transform: correlations of one pair of fields scatter evenly in it."""
    return np.arctanh(np.clip(correlation, -LARGEST_CORRELATION, LARGEST_CORRELATION))


def bulk(natural_N: NDArray[np.float64], copies: NDArray[np.float64]) -> tuple[float, float]:
    """Centre and upper standard deviation of the distinct ones of natural pairs, all in Fisher's z.

    copies: of planted ones. Some natural pairs may be copies, scattered as these are: how many, and
    how likely each, is found by expectation maximisation. What is likely a copy counts less in the
    median and in the quantile that the spread is taken from.
    """
    copy_density_N = gaussian_kde(copies)(natural_N) if np.ptp(copies) > 0 else 0 * natural_N
    below = natural_N < np.median(copies)
    distinct_N = below.astype(float) if below.any() else np.ones(len(natural_N))
    for _ in range(MIXTURE_STEPS):
        centre, upper = np.quantile(
            natural_N, [0.5, norm.cdf(1)], weights=distinct_N, method="inverted_cdf"
        )
        spread = max(upper - centre, LEAST_SPREAD_Z)
        share = 1 - distinct_N.mean()
        copy_N = share * copy_density_N
        other_N = (1 - share) * norm.pdf(natural_N, centre, spread)
        # Below the centre the planted ones' low tail must not take away what is surely distinct.
        distinct_N = np.where(natural_N > centre, other_N / (copy_N + other_N + TINY), 1.0)
    return float(centre), float(spread)


def rare_z(centre: float, spread: float, false_rate: float) -> float:
    """Fisher's z that so few distinct pairs reach, by the law of maxima.

    Of each image the best of many candidates is looked at, so the tail is Gumbel's, which is
    heavier than a normal one; matched to the median and upper standard deviation of `bulk`.
    """
    median, upper = gumbel_r.ppf(norm.cdf([0, 1]))
    scale = spread / (upper - median)
    return float(gumbel_r.isf(false_rate, loc=centre - median * scale, scale=scale))
