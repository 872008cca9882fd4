"""False alarms: how rarely two images that are no copies agree in so many blocks.

An a contrario score (Desolneux, Moisan & Morel 2000) does not ask how a copy looks, but how likely
non-matches would agree as well. Blocks of non-matches agree with a small probability. It is not the
same for every pair, because neighbouring blocks and similar images depend on one another, so the
number of agreeing blocks follows a beta-binomial law. Its parameters are measured on the atlas's
own non-matches, for two sizes and several correlations from which a block agrees: unspoiled blocks
of a copy agree almost perfectly, those of a blurred or compressed one less so.

The score is -log10 of the probability of so many or more agreeing blocks: of 10^score non-matches,
one reaches the score by chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import scipy  # its parts are loaded at their first use, which many lookups do without
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

HIGHEST_SCORE = 300.0
SHARES = np.geomspace(0.0005, 0.4, 50)
DEPENDENCES = np.geomspace(0.02, 0.1, 9)
# So many pairs of the assumed law are added, so that a few pairs do not decide alone.
ASSUMED_PAIRS = 10
# Pairs that agree more than any of so many non-matches should may be copies that nobody declared;
# the law is fitted to the others.
SUSPECTED_BEYOND = 0.5  # powers of ten
SURELY_ORDINARY = 0.7  # share of the pairs that the first fit uses
MOST_FITS = 20


@dataclass(frozen=True, kw_only=True)
class Level:
    """How blocks of non-matches agree, from one correlation on.

    Attributes:
        look: The number of the size at which images are compared.
        agrees_from: The correlation from which a block agrees.
        share: The mean share of blocks that agree.
        dependence: The correlation between whether two blocks of one pair agree, above 0 and below
            1. Of n blocks, n / (1 + (n - 1) dependence) count as independent.
    """

    look: int
    agrees_from: float
    share: float
    dependence: float


ASSUMED = tuple(
    Level(look=look, agrees_from=agrees_from, share=share, dependence=0.03)
    for look in (0, 1)
    for agrees_from, share in (
        (0.5, 0.1), (0.6, 0.05), (0.7, 0.03), (0.8, 0.015), (0.9, 0.007), (0.95, 0.003),
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NonMatches:
    """The law of agreeing blocks of two images that are no copies.

    Attributes:
        levels: How blocks agree, from several correlations on.
        aligned: The share of non-matches that can be aligned at all.
        pattern: What all images of the atlas show alike, such as a frame: one row of "0" and "1"
            for each row of a grid; empty if there is nothing.
    """

    levels: tuple[Level, ...] = ASSUMED
    aligned: float = 1.0
    pattern: tuple[str, ...] = ()

    def score(self, counts: Sequence[tuple[int, int]]) -> float:
        """Return -log10 of the probability that a non-match agrees as well, at least 0.

        The best level counts, and the number of levels is taken into account (Bonferroni).

        Args:
            counts: For each level the number of agreeing and of comparable blocks.

        Example:
            >>> law = NonMatches()
            >>> round(law.score([(2, 50)] * len(law.levels)), 1)
            0.4
            >>> round(law.score([(45, 50)] * len(law.levels)), 1)
            18.3
        """
        if not any(agreeing for agreeing, _ in counts):
            return 0.0
        tails = [
            log10_tail(agreeing, comparable, level)
            for (agreeing, comparable), level in zip(counts, self.levels, strict=True)
        ]
        found = -min(tails) - np.log10(len(self.levels)) - np.log10(self.aligned)
        return float(np.clip(found, 0.0, HIGHEST_SCORE))

    def pattern_of(self, side: int) -> NDArray[np.bool_] | None:
        """Return the pixels that all images show alike, side x side; None if there are none."""
        return _pixels_of(self.pattern, side) if self.pattern else None


ASSUMED_LAW = NonMatches()


def restored(stored: Mapping[str, Any]) -> NonMatches:
    """Return the law that was written as JSON."""
    return NonMatches(
        levels=tuple(Level(**level) for level in stored["levels"]),
        aligned=float(stored["aligned"]),
        pattern=tuple(stored["pattern"]),
    )


def log10_tail(agreeing: int, comparable: int, level: Level) -> float:
    """Return log10 of the probability that so many or more of the blocks agree."""
    if agreeing <= 0:
        return 0.0
    possible = np.arange(agreeing, comparable + 1)
    logs = _log_probability(possible, comparable, level.share, level.dependence)
    # scipy's logsumexp does the same, but looks at torch and is slower.
    return min(float(np.logaddexp.reduce(logs) / np.log(10)), 0.0)


def measure(
    correlations: Sequence[Sequence[NDArray[np.float32]]],
    *,
    pairs: int,
    pattern: tuple[str, ...] = (),
) -> NonMatches:
    """Return the law of non-matches, measured on pairs of images of which few are copies.

    Args:
        correlations: For each pair that can be aligned, and each size at which it is compared, the
            correlations of its comparable blocks.
        pairs: The number of all pairs.
        pattern: What all images of the atlas show alike.
    """
    levels = tuple(
        _measured([pair[assumed.look] for pair in correlations if len(pair[assumed.look])], assumed)
        for assumed in ASSUMED
    )
    # One more than was seen (Laplace), because few pairs cannot show a small share.
    aligned = min(1.0, (len(correlations) + 1) / (pairs + 1))
    return NonMatches(levels=levels, aligned=aligned, pattern=pattern)


@cache
def _pixels_of(pattern: tuple[str, ...], side: int) -> NDArray[np.bool_]:
    grid = np.array([[mark == "1" for mark in row] for row in pattern])
    at = np.arange(side) * len(grid) // side
    pixels = np.asarray(grid[np.ix_(at, at)], bool)
    pixels.flags.writeable = False  # all callers share it
    return pixels


def _measured(pairs: Sequence[NDArray[np.float32]], assumed: Level) -> Level:
    """Return the most likely level on a grid, without the pairs that do not fit it."""
    if not pairs:
        return assumed
    every_P2 = np.array([(int((pair >= assumed.agrees_from).sum()), len(pair)) for pair in pairs])
    shares_P = every_P2[:, 0] / np.maximum(every_P2[:, 1], 10)
    # Many pairs have equal counts, which are judged once.
    counts_N2, times_N = np.unique(every_P2, axis=0, return_counts=True)
    agreeing, comparable = counts_N2.T
    likelihood_SDN = _on_grid(agreeing, comparable)
    prior_SD = ASSUMED_PAIRS * _assumed_likelihood(int(np.median(every_P2[:, 1])), assumed)
    ordinary = float(np.quantile(shares_P, SURELY_ORDINARY))
    kept = agreeing / np.maximum(comparable, 10) <= ordinary
    suspected = np.log10(len(pairs)) + SUSPECTED_BEYOND
    for _ in range(MOST_FITS):
        total_SD = likelihood_SDN[..., kept] @ times_N[kept] + prior_SD
        row, column = np.unravel_index(total_SD.argmax(), total_SD.shape)
        level = replace(assumed, share=float(SHARES[row]), dependence=float(DEPENDENCES[column]))
        fits = np.array(
            [
                log10_tail(int(k), int(n), level) > -suspected
                for k, n in zip(agreeing, comparable, strict=True)
            ]
        )
        if np.array_equal(fits, kept):
            break
        kept = fits
    return level


def _assumed_likelihood(comparable: int, assumed: Level) -> FloatArray:
    """Return the mean log-likelihood, on the grid, of pairs that follow the assumed law."""
    counts = np.arange(comparable + 1)
    weights = np.exp(_log_probability(counts, comparable, assumed.share, assumed.dependence))
    return np.asarray(_on_grid(counts, np.full(len(counts), comparable)) @ weights)


def _on_grid(agreeing: NDArray[np.int64], comparable: NDArray[np.int64]) -> FloatArray:
    return np.array(
        [
            [
                _log_probability(agreeing, comparable, share, dependence)
                for dependence in DEPENDENCES
            ]
            for share in SHARES
        ]
    )


def _log_probability(
    agreeing: NDArray[np.int64],
    comparable: NDArray[np.int64] | int,
    share: float,
    dependence: float,
) -> FloatArray:
    """Return the logarithm of the beta-binomial probability of these counts."""
    independent = 1 / dependence - 1
    first, second = share * independent, (1 - share) * independent
    others = np.subtract(comparable, agreeing)
    gammaln, betaln = scipy.special.gammaln, scipy.special.betaln
    ways = gammaln(np.add(comparable, 1.0)) - gammaln(agreeing + 1.0) - gammaln(others + 1.0)
    return np.asarray(ways + betaln(agreeing + first, others + second) - betaln(first, second))
