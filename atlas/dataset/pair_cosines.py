"""Cosine similarities of pairs of vectors."""

import numpy as np
from numpy.typing import NDArray

PAIRS_AT_ONCE = 8192


def pair_cosines(
    queries_ND: NDArray[np.float32],
    references_MD: NDArray[np.float32],
    query_P: NDArray[np.integer],
    reference_P: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Return the cosine similarity of each of P pairs of unit vectors.

    Pairs are computed in blocks, because copies of the vectors of all pairs would take gigabytes.

    Args:
        queries_ND: Vectors of length 1.
        references_MD: Further ones; they may be the same.
        query_P: Position of the first vector of each pair.
        reference_P: Position of the second vector of each pair.

    Returns:
        The cosine similarities, float32 P; rounding may bring them slightly above 1.

    Example:
        >>> vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
        >>> pair_cosines(vectors, vectors, np.array([0, 0]), np.array([0, 1])).tolist()
        [1.0, 0.6000000238418579]
    """
    cosine_P = np.empty(len(query_P), np.float32)
    for start in range(0, len(query_P), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        one_PD, other_PD = queries_ND[query_P[some]], references_MD[reference_P[some]]
        cosine_P[some] = np.einsum("pd,pd->p", one_PD, other_PD)
    return cosine_P
