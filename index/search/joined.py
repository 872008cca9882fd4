"""Two or more indexes that are searched as one. Axes: N queries, K neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.search.vector_index import VectorIndex


@dataclass(frozen=True, kw_only=True)
class JoinedIndex:
    """Indexes of vectors of one embedder, which have no id in common.

    A large index can so be searched together with a few images that were added later, without
    copying its vectors. The result is that of a single index, because products are computed one by
    one, and ties are in the order of ids.
    """

    parts: tuple[VectorIndex, ...]

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours:
        """Return the k most similar ids of each query, never its own id; see `FlatIndex.search`."""
        found = [part.search(queries, k) for part in self.parts]
        if len(found) == 1:
            return found[0]
        ids_QK = np.full((len(queries.ids), k), "", dtype=object)
        similarity_QK = np.full((len(queries.ids), k), -np.inf, np.float32)
        for n in range(len(queries.ids)):
            best = _best(found, n, k)
            for place, (similarity, image_id) in enumerate(best):
                ids_QK[n, place], similarity_QK[n, place] = image_id, -similarity
        return Neighbours(
            query_ids=queries.ids, reference_ids_NK=ids_QK, similarity_NK=similarity_QK
        )


def _best(found: Sequence[Neighbours], n: int, k: int) -> list[tuple[np.float32, str]]:
    """Return the negative similarities and ids of the nearest of all parts, best first."""
    pairs = [
        (-similarity, str(image_id))
        for one in found
        for image_id, similarity in zip(one.reference_ids_NK[n], one.similarity_NK[n], strict=True)
        if image_id
    ]
    return sorted(pairs)[:k]
