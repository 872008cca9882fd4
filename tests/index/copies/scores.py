"""Registration scores of copies and of non-matches."""

import numpy as np

CANDIDATES = 20


def copies(count: int, seed: int, *, median: float = 30.0, spread: float = 0.3) -> np.ndarray:
    """Return registration scores of copies, whose logarithms are normal."""
    return median * np.exp(np.random.default_rng(seed).normal(0, spread, count))


def non_matches(
    count: int, seed: int, *, decades: float = 1.0, candidates: int = CANDIDATES
) -> np.ndarray:
    """Return the score of each image's best of several non-matches.

    Of 10^score non-matches one reaches the score, if `decades` is 1; otherwise scores are as many
    times higher as that.
    """
    chances = np.random.default_rng(seed).random((count, candidates))
    return -decades * np.log10(chances.min(axis=1))
