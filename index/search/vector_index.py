"""Vectors by id: add, delete, search. Axes: N vectors, D dimensions, Q queries, K neighbours."""

from collections.abc import Sequence
from copy import copy
from typing import Protocol

import numpy as np

from atlas.core.errors import ProvenanceError, UserError
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.search.nearest import MakePropose, Propose, Vectors, flat_proposals, nearest

QUERIES_AT_ONCE = 2048  # faiss is much slower per query in small batches


class VectorIndex(Protocol):
    """Nearest neighbours by cosine, in terms of ids, whatever lies below."""

    def add(self, embeddings: EmbeddingSet) -> None: ...

    def delete(self, ids: Sequence[str]) -> None: ...

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours: ...


class FlatIndex:
    """All vectors side by side. Holds those of one embedder only.

    embedder: the fingerprint that the provenance of every added and asked vector must carry.
    make_propose: who proposes neighbours; asked again once vectors have come or gone.
    """

    def __init__(
        self, *, dimension: int, embedder: str, make_propose: MakePropose = flat_proposals
    ) -> None:
        self.embedder = embedder
        self.dimension = dimension
        self._make_propose = make_propose
        self._propose: Propose | None = None
        self._hold((), np.empty((0, dimension), np.float32))

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, embeddings: EmbeddingSet) -> None:
        """Raises UserError where an id is there already, ProvenanceError for other vectors."""
        self._check(embeddings)
        twice = [i for i in embeddings.ids if i in self._position]
        if twice or len(set(embeddings.ids)) < len(embeddings.ids):
            raise UserError(f"the index holds {(twice or ['an id given twice'])[0]} already")
        added = np.ascontiguousarray(embeddings.vectors_ND, np.float32)
        vectors = np.concatenate([self._vectors_ND, added]) if self.ids else added
        self._hold((*self.ids, *embeddings.ids), vectors)

    def delete(self, ids: Sequence[str]) -> None:
        """Raises UserError naming an id that is not there."""
        unknown = set(ids) - set(self._position)
        if unknown:
            raise UserError(f"the index does not hold {min(unknown)}")
        gone = set(ids)
        kept = [n for n, image_id in enumerate(self.ids) if image_id not in gone]
        self._hold(tuple(self.ids[n] for n in kept), self._vectors_ND[kept])

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours:
        """The k most similar ids of each query, never the query's own id; ties in order of ids."""
        self._check(queries)
        if self._propose is None:
            self._propose = self._make_propose(self._vectors_ND)
        own_Q = np.array([self._position.get(i, -1) for i in queries.ids], np.int64)
        ids_QK = np.full((len(queries.ids), k), "", dtype=object)
        similarity_QK = np.full((len(queries.ids), k), -np.inf, np.float32)
        for start in range(0, len(queries.ids), QUERIES_AT_ONCE):
            block = slice(start, start + QUERIES_AT_ONCE)
            vectors_QD = np.ascontiguousarray(queries.vectors_ND[block], np.float32)
            positions_QK, similarity_QK[block] = nearest(
                self._propose, self._vectors_ND, vectors_QD, k,
                rank_N=self._rank_N, own_Q=own_Q[block],
            )  # fmt: skip
            ids_QK[block] = self._names[positions_QK]
        return Neighbours(
            query_ids=queries.ids, reference_ids_NK=ids_QK, similarity_NK=similarity_QK
        )

    def proposing(self, make_propose: MakePropose) -> "FlatIndex":
        """The same vectors, which are not copied, with another one who proposes."""
        other = copy(self)
        other._make_propose, other._propose = make_propose, None
        return other

    def _hold(self, ids: tuple[str, ...], vectors_ND: Vectors) -> None:
        self.ids = ids
        self._vectors_ND = vectors_ND
        self._names = np.array([*ids, ""], dtype=object)  # position -1 is the last
        self._position = {image_id: n for n, image_id in enumerate(ids)}
        self._rank_N = np.empty(len(ids), np.int64)
        self._rank_N[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        self._propose = None

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


def build_index(embeddings: EmbeddingSet, make_propose: MakePropose = flat_proposals) -> FlatIndex:
    """An index of these vectors, bound to their embedder."""
    index = FlatIndex(
        dimension=embeddings.vectors_ND.shape[1],
        embedder=str(embeddings.provenance["embedder"]),
        make_propose=make_propose,
    )
    index.add(embeddings)
    return index
