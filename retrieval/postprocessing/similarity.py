"""Similarities of queries to references, a block of queries at a time, and of pairs.

Axes: Q queries, B queries of one block, G references (the gallery), D dimensions, N images,
P pairs.
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
    """Whatever says how alike queries and references are; larger is more alike.

    A query has no similarity to itself: -inf where both ids are equal.
    """

    @property
    def query_ids(self) -> tuple[str, ...]: ...

    @property
    def reference_ids(self) -> tuple[str, ...]: ...

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """The places of a block's queries, and their similarities B x G; all queries in order."""
        ...


@dataclass(frozen=True, kw_only=True)
class CosineSimilarities:
    """Cosines of embeddings of unit length."""

    queries: EmbeddingSet
    references: EmbeddingSet

    @property
    def query_ids(self) -> tuple[str, ...]:
        return self.queries.ids

    @property
    def reference_ids(self) -> tuple[str, ...]:
        return self.references.ids

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
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
    """Return the cosine of each pair of vectors of unit length, by their places."""
    cosine_P = np.empty(len(first_P), np.float32)
    for start in range(0, len(first_P), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        cosine_P[some] = (vectors_ND[first_P[some]] * vectors_ND[second_P[some]]).sum(axis=1)
    return cosine_P
