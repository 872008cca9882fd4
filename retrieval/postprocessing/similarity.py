"""Compute similarities of queries to references in blocks of queries, and of pairs.

Axes: Q queries, B queries of one block, G references (the gallery), D dimensions, N images, P
pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet

BLOCK_ENTRIES = 16 * 1024**2  # float32 entries of one block: 64 MiB
PAIRS_AT_ONCE = 8192


class Similarities(Protocol):
    """Describe similarities of queries to references; larger means more similar.

    A query has no similarity to itself: the value is -inf where both ids are equal.
    """

    @property
    def query_ids(self) -> tuple[str, ...]:
        """Return the ids of the queries."""

    @property
    def reference_ids(self) -> tuple[str, ...]:
        """Return the ids of the references."""

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield the positions of a block of queries with their similarities, B x G, in order."""


@dataclass(frozen=True, kw_only=True)
class CosineSimilarities:
    """Compute cosine similarities of embeddings of unit length.

    Attributes:
        queries: Embeddings of the queries.
        references: Embeddings of the references.
    """

    queries: EmbeddingSet
    references: EmbeddingSet

    @property
    def query_ids(self) -> tuple[str, ...]:
        """Return the ids of the queries."""
        return self.queries.ids

    @property
    def reference_ids(self) -> tuple[str, ...]:
        """Return the ids of the references."""
        return self.references.ids

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield the positions of a block of queries with their similarities, B x G, in order."""
        place = {image_id: n for n, image_id in enumerate(self.reference_ids)}
        size = max(1, BLOCK_ENTRIES // max(1, len(self.reference_ids)))
        for start in range(0, len(self.query_ids), size):
            rows = slice(start, min(start + size, len(self.query_ids)))
            similarity_BG = self.queries.vectors_ND[rows] @ self.references.vectors_ND.T
            for row, image_id in enumerate(self.query_ids[rows]):
                if image_id in place:
                    similarity_BG[row, place[image_id]] = -np.inf
            yield rows, similarity_BG


def pair_cosines(
    vectors_ND: NDArray[np.float32], first_P: NDArray[np.integer], second_P: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the cosine similarity of pairs of unit vectors.

    Args:
        vectors_ND: The vectors.
        first_P: Position of the first vector of each pair.
        second_P: Position of the second vector of each pair.

    Returns:
        The cosine similarities, float32 P.

    Example:
        >>> vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
        >>> pair_cosines(vectors, np.array([0, 0]), np.array([0, 1])).tolist()
        [1.0, 0.6000000238418579]
    """
    cosine_P = np.empty(len(first_P), np.float32)
    for start in range(0, len(first_P), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        cosine_P[some] = (vectors_ND[first_P[some]] * vectors_ND[second_P[some]]).sum(axis=1)
    return cosine_P
