"""Compute similarities of queries to references in blocks of queries.

Axes: Q queries, B queries of one block, G references (the gallery).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet

BLOCK_ENTRIES = 16 * 1024**2  # float32 entries of one block: 64 MiB


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
