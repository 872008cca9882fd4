"""Vectors by id: add, delete, search. Axes: N vectors, D dimensions, Q queries, K neighbours."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atlas.artifacts import EmbeddingSet, Neighbours
from atlas.errors import ProvenanceError, UserError

try:
    import faiss
except ImportError as error:  # the two wheels exclude each other, so neither is a plain requirement
    raise UserError(
        "faiss is not installed: pip install '.[cpu]', or '.[gpu]' on a CUDA machine"
    ) from error

QUERIES_AT_ONCE = 2048  # faiss Flat is much slower per query in small batches


class VectorIndex(Protocol):
    """Nearest neighbours by cosine, in terms of ids, whatever lies below."""

    def add(self, embeddings: EmbeddingSet) -> None: ...

    def delete(self, ids: Sequence[str]) -> None: ...

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours: ...


class FlatIndex:
    """Exact search with faiss. Holds vectors of one embedder only.

    embedder: the fingerprint that the provenance of every added and asked vector must carry.
    """

    def __init__(self, *, dimension: int, embedder: str) -> None:
        self.embedder = embedder
        self.dimension = dimension
        self._ids = np.empty(0, dtype=object)
        self._flat = faiss.IndexFlatIP(dimension)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._ids)

    def add(self, embeddings: EmbeddingSet) -> None:
        """Raises UserError where an id is there already, ProvenanceError for other vectors."""
        self._check(embeddings)
        known = set(self._ids)
        twice = [i for i in embeddings.ids if i in known]
        if twice or len(set(embeddings.ids)) < len(embeddings.ids):
            raise UserError(f"the index holds {(twice or ['an id given twice'])[0]} already")
        self._flat.add(np.ascontiguousarray(embeddings.vectors_ND, np.float32))
        self._ids = np.concatenate([self._ids, np.array([*embeddings.ids, None], object)[:-1]])

    def delete(self, ids: Sequence[str]) -> None:
        """Raises UserError naming an id that is not there."""
        unknown = set(ids) - set(self._ids)
        if unknown:
            raise UserError(f"the index does not hold {min(unknown)}")
        gone = np.isin(self._ids, list(ids))
        self._flat.remove_ids(faiss.IDSelectorBatch(np.flatnonzero(gone).astype(np.int64)))
        self._ids = self._ids[~gone]

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours:
        """The k most similar ids of each query, never the query's own id; ties in order of ids."""
        self._check(queries)
        blocks = [
            self._search_block(queries, slice(start, start + QUERIES_AT_ONCE), k)
            for start in range(0, len(queries.ids), QUERIES_AT_ONCE)
        ]
        ids_QK = [ids for ids, _ in blocks] or [np.empty((0, k), object)]
        similarity_QK = [cosines for _, cosines in blocks] or [np.empty((0, k), np.float32)]
        return Neighbours(
            query_ids=queries.ids,
            reference_ids_NK=np.concatenate(ids_QK),
            similarity_NK=np.concatenate(similarity_QK),
        )

    def _search_block(
        self, queries: EmbeddingSet, block: slice, k: int
    ) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
        vectors = np.ascontiguousarray(queries.vectors_ND[block], np.float32)
        query_ids = queries.ids[block]
        found_ids = np.full((len(query_ids), k), "", dtype=object)
        found = np.full((len(query_ids), k), -np.inf, dtype=np.float32)
        open_rows = np.arange(len(query_ids))
        wanted = k + 2  # the query itself, and one more to see whether a tie goes on
        while len(open_rows) and len(self):
            wanted = min(wanted, len(self))
            similarity, positions = self._flat.search(vectors[open_rows], wanted)
            still_open = []
            for row, cosines, where in zip(open_rows, similarity, positions, strict=True):
                ids, best, complete = _ordered(self._ids[where], cosines, query_ids[row], k)
                found_ids[row, : len(ids)], found[row, : len(ids)] = ids, best
                if not complete and wanted < len(self):
                    still_open.append(row)
            open_rows, wanted = np.array(still_open, dtype=np.int64), wanted * 4
        return found_ids, found

    def _check(self, embeddings: EmbeddingSet) -> None:
        theirs = embeddings.provenance.get("embedder")
        if theirs != self.embedder:
            raise ProvenanceError(
                f"these vectors come from embedder {theirs}, the index from {self.embedder}: "
                "make both with the same one (scripts/build_index.py)"
            )
        if embeddings.vectors_ND.shape[1] != self.dimension:
            raise ProvenanceError(
                f"vectors of {embeddings.vectors_ND.shape[1]} dimensions, "
                f"the index holds {self.dimension}"
            )


def _ordered(
    ids: NDArray[np.object_], cosines: NDArray[np.float32], query_id: str, k: int
) -> tuple[NDArray[np.object_], NDArray[np.float32], bool]:
    """One query's candidates without itself, by (similarity down, id up), and whether that is sure.

    It is not where the last candidate ties with the k-th: another of that similarity and an earlier
    id may have been left out.
    """
    others = ids != query_id
    kept_ids, kept = ids[others], np.minimum(cosines[others], np.float32(1.0))
    order = np.lexsort((kept_ids.astype(str), -kept))[:k]
    complete = len(order) == k and bool(kept[order[-1]] > kept.min())
    return kept_ids[order], kept[order], complete


def build_index(embeddings: EmbeddingSet) -> FlatIndex:
    """An index of these vectors, bound to their embedder."""
    index = FlatIndex(
        dimension=embeddings.vectors_ND.shape[1], embedder=str(embeddings.provenance["embedder"])
    )
    index.add(embeddings)
    return index
