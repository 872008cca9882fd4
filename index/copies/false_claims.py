"""False claims: how often the best candidate of a query without a copy reaches a score.

Axes: B bins of scores and E their edges, T decays of a tail, U shares of undeclared copies.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# The tail of non-matches is measured in a window of scores. It begins where the law expects this
# share of the queries, but not below this quantile of the measured ones.
TAIL_SHARE, TAIL_QUANTILE, TAIL_WIDTH = 0.1, 0.75, 6.0
BIN = 0.1
DECADE = 1 / np.log(10)  # how far the score rises while the rate of the law falls by a factor of e
DECAYS = np.geomspace(DECADE, 20 * DECADE, 200)
TINY = 1e-300
UNDECLARED = np.linspace(0, 1, 51)  # shares of undeclared copies in the window
ASSUMED_QUERIES = 10  # in the window, of the law, so that a few queries do not decide alone
QUERIES_OF_A_PAIR = 2  # most pairs are the best of both of their images
NOTHING: NDArray[np.float64] = np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class FalseClaims:
    """How often the best candidate of a query without a copy reaches a score.

    The law of non-matches says `candidates` times 10^-score. The atlas's own pairs show a rate,
    too, and the larger of the two counts.

    Attributes:
        candidates: The number of candidates of a query.
        start: The score from which the measured rate falls.
        rate: The measured rate at this score.
        decay: How far the score rises while the measured rate falls by a factor of e.
    """

    candidates: int
    start: float
    rate: float
    decay: float

    @property
    def beyond_law(self) -> bool:
        """Return whether the measured rate falls clearly more slowly than the law says."""
        return bool(self.decay > 1.5 * DECADE)

    def rate_from(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of such queries that reach each score."""
        measured = self.rate * np.exp(-(score - self.start) / self.decay)
        law = self.candidates * 10.0 ** -np.minimum(score, 300.0)
        return np.asarray(np.minimum(1.0, np.maximum(measured, law)))

    def grown(self, growth: float) -> "FalseClaims":
        """Return the rates in a gallery that is so many times as large."""
        return replace(self, rate=self.rate * growth)

    def score_at(self, rate: float) -> float:
        """Return the score that such queries reach with this rate."""
        measured = self.start + self.decay * np.log(self.rate / rate)
        return float(max(measured, np.log10(self.candidates / rate), 0.0))


def measured_tail(
    natural: NDArray[np.float64], candidates: int, *, behind: NDArray[np.float64] = NOTHING
) -> FalseClaims:
    """Return the rate of false claims, measured on images and their best non-matches.

    Some of these may be copies that nobody declared. Non-matches fall off exponentially, and copies
    have any score, so the scores in the window are fitted by a mixture of a truncated exponential
    and a uniform distribution, of which only the first counts. The window begins among usual
    non-matches even where most images have copies: for its start, the images whose best match may
    be a copy have the score of the match behind it.

    Args:
        natural: The score of each image's best non-match.
        candidates: The number of candidates of each image.
        behind: For each image whose best non-match scores like planted copies, the score of its
            best other candidate that does not.
    """
    by_law = np.log10(candidates / TAIL_SHARE)
    usual = np.sort(natural)[: len(natural) - len(behind)]
    start = float(max(by_law, np.quantile(np.concatenate([usual, behind]), TAIL_QUANTILE)))
    edges = np.arange(0, TAIL_WIDTH + BIN / 2, BIN)
    count_B = np.histogram(np.concatenate([natural, behind]) - start, edges)[0]
    below_TE = -np.expm1(-edges / DECAYS[:, None])  # the exponential's share below each edge
    falling_TB = np.diff(below_TE) / below_TE[:, -1:]
    undeclared_U11 = UNDECLARED[:, None, None]
    mixed_UTB = (1 - undeclared_U11) * falling_TB + undeclared_U11 * BIN / TAIL_WIDTH
    likelihood_UT = np.log(mixed_UTB + TINY) @ count_B / QUERIES_OF_A_PAIR
    likelihood_UT -= ASSUMED_QUERIES * (np.log(DECAYS) + DECADE / DECAYS)
    share, decay = np.unravel_index(likelihood_UT.argmax(), likelihood_UT.shape)
    inside = float(below_TE[decay, -1])
    non_matches = max((1 - UNDECLARED[share]) * count_B.sum(), 1.0)
    return FalseClaims(
        candidates=candidates,
        start=start,
        rate=float(non_matches / len(natural) / inside),
        decay=float(DECAYS[decay]),
    )
