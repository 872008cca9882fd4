"""False claims: how often the best candidate of a query without a copy reaches a score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The tail of non-matches is measured in a window of scores. It begins where the law expects this
# share of the queries, but not below this quantile of the measured ones. It ends where copies that
# nobody declared would count: most of them score more.
TAIL_SHARE, TAIL_QUANTILE, TAIL_WIDTH = 0.1, 0.75, 3.0
DECADE = 1 / np.log(10)  # how far the score rises while the rate of the law falls by a factor of e
DECAYS = np.geomspace(DECADE, 20 * DECADE, 200)
ASSUMED_QUERIES = 10  # in the window, of the law, so that a few queries do not decide alone
QUERIES_OF_A_PAIR = 2  # most pairs are the best of both of their images


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

    def density(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how densely such queries have each score."""
        return np.asarray(self.rate_from(score) / max(self.decay, DECADE))

    def score_at(self, rate: float) -> float:
        """Return the score that such queries reach with this rate."""
        measured = self.start + self.decay * np.log(self.rate / rate)
        return float(max(measured, np.log10(self.candidates / rate), 0.0))


def measured_tail(natural: NDArray[np.float64], candidates: int) -> FalseClaims:
    """Return the rate of false claims, measured on images and their best non-matches.

    Args:
        natural: The score of each image's best non-match; some may be undeclared copies.
        candidates: The number of candidates of each image.
    """
    by_law = np.log10(candidates / TAIL_SHARE)
    start = float(max(by_law, np.quantile(natural, TAIL_QUANTILE)))
    beyond = natural[(natural >= start) & (natural < start + TAIL_WIDTH)] - start
    independent = len(beyond) / QUERIES_OF_A_PAIR
    mean = float(beyond.mean()) if len(beyond) else DECADE
    inside = 1 - np.exp(-TAIL_WIDTH / DECAYS)  # the share of the tail that lies in the window
    likelihood = -independent * (np.log(DECAYS * inside) + mean / DECAYS)
    likelihood -= ASSUMED_QUERIES * (np.log(DECAYS) + DECADE / DECAYS)
    best = int(likelihood.argmax())
    return FalseClaims(
        candidates=candidates,
        start=start,
        rate=max(len(beyond), 1) / len(natural) / float(inside[best]),
        decay=float(DECAYS[best]),
    )
