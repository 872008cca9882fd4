"""An index of vectors by id: add, delete and search.

A search is exact however neighbours are proposed: exact products decide among the proposals, and
more proposals are requested if their bound does not exclude a missed neighbour. So the result
depends neither on the proposals nor on the other queries of a batch. Axes: N vectors, D dimensions,
Q queries, M proposals, K neighbours.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import ProvenanceError, Stage, UserError
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.search.proposals import MakePropose, Positions, Propose, Vectors, flat_proposals

QUERIES_AT_ONCE = 2048  # faiss is much slower per query in small batches
WIDER = 4  # the factor by which proposals grow if they did not suffice
SORTED_AT_ONCE = 4  # with more proposals per neighbour, the larger ones are selected before sorting
MOST_PROPOSALS = 2**24  # at a time, for all queries together


class VectorIndex(Protocol):
    """An index that finds nearest neighbours by cosine similarity, in terms of ids."""

    def add(self, embeddings: EmbeddingSet) -> None:
        """Add vectors with new ids."""

    def delete(self, ids: Sequence[str]) -> None:
        """Delete vectors by id."""

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours:
        """Return the k most similar ids of each query."""


class FlatIndex:
    """An index that keeps the vectors of one embedder side by side in memory.

    Args:
        dimension: The number of dimensions D.
        embedder: The fingerprint that the provenance of all vectors and queries must have.
        make_propose: Makes the function that proposes neighbours; called again after vectors were
            added or deleted.
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
        """Add vectors with new ids.

        Raises:
            UserError: The index already contains one of the ids, or an id is given twice.
            ProvenanceError: The vectors have another embedder or another dimension.
        """
        require_same_embedder(embeddings, embedder=self.embedder, dimension=self.dimension)
        if twice := [i for i in embeddings.ids if i in self._position]:
            raise UserError(f"the index already contains {twice[0]}")
        if len(set(embeddings.ids)) < len(embeddings.ids):
            raise UserError("an id is given twice")
        added = np.ascontiguousarray(embeddings.vectors_ND, np.float32)
        vectors = np.concatenate([self._vectors_ND, added]) if self.ids else added
        self._hold((*self.ids, *embeddings.ids), vectors)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete vectors by id.

        Raises:
            UserError: The index does not contain one of the ids.
        """
        unknown = set(ids) - set(self._position)
        if unknown:
            raise UserError(f"the index does not contain {min(unknown)}")
        gone = set(ids)
        kept = [n for n, image_id in enumerate(self.ids) if image_id not in gone]
        self._hold(tuple(self.ids[n] for n in kept), self._vectors_ND[kept])

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours:
        """Return the k most similar ids of each query, never its own id.

        Ties are in the order of ids. Missing neighbours have the id "" and the similarity -inf.
        """
        require_same_embedder(queries, embedder=self.embedder, dimension=self.dimension)
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
        """Return an index of the same vectors, which are not copied, with other proposals."""
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


def require_same_embedder(embeddings: EmbeddingSet, *, embedder: str, dimension: int) -> None:
    """Check that vectors belong into, or may be searched for in, an index.

    Args:
        embeddings: The vectors.
        embedder: The fingerprint of the index's embedder.
        dimension: The number of dimensions of the index.

    Raises:
        ProvenanceError: The vectors have another embedder or another dimension.
    """
    theirs = embeddings.provenance.get("embedder")
    if theirs != embedder:
        raise ProvenanceError(
            f"these vectors were made by embedder {theirs} and the index by {embedder}; "
            f"make both with the same embedder ({Stage.INDEX.command})"
        )
    if embeddings.vectors_ND.shape[1] != dimension:
        raise ProvenanceError(
            f"these vectors have {embeddings.vectors_ND.shape[1]} dimensions and the index "
            f"{dimension}; make both with the same embedder ({Stage.INDEX.command})"
        )


def build_index(embeddings: EmbeddingSet, make_propose: MakePropose = flat_proposals) -> FlatIndex:
    """Return an index of these vectors, bound to their embedder."""
    index = FlatIndex(
        dimension=embeddings.vectors_ND.shape[1],
        embedder=str(embeddings.provenance["embedder"]),
        make_propose=make_propose,
    )
    index.add(embeddings)
    return index


def nearest(
    propose: Propose,
    vectors_ND: Vectors,
    queries_QD: Vectors,
    k: int,
    *,
    rank_N: NDArray[np.int64],
    own_Q: NDArray[np.int64],
    count: int | None = None,
) -> tuple[Positions, Vectors]:
    """Return the k nearest vectors of each query.

    Args:
        propose: Proposes neighbours.
        vectors_ND: The vectors.
        queries_QD: The queries.
        k: The number of neighbours.
        rank_N: The rank of each vector; among equal products the lower rank comes first.
        own_Q: The position of the query itself, which is not a neighbour; -1 if it is not in the
            index.
        count: The number of proposals to start with; by default as many as suffice without doubt.

    Returns:
        Positions Q x K, best first, and products Q x K; -1 and -inf where there are no more.
    """
    count = min(count or k + 1, len(vectors_ND))
    positions_QK = np.full((len(queries_QD), k), -1, np.int64)
    products_QK = np.full((len(queries_QD), k), -np.inf, np.float32)
    if not (count and len(queries_QD)):
        return positions_QK, products_QK
    proposed, outside = propose(queries_QD, count)
    products = inner_products(queries_QD, vectors_ND, proposed)
    products[proposed == own_Q[:, None]] = -np.inf
    best, order = _best(products, rank_N[proposed], k)
    found = np.take_along_axis(proposed, order, axis=1)
    positions_QK[:, : order.shape[1]] = np.where(np.isneginf(best), -1, found)
    products_QK[:, : order.shape[1]] = best
    if count < len(vectors_ND):
        doubtful = np.flatnonzero(~np.isneginf(outside) & (products_QK[:, -1] <= outside))
        at_once = max(1, MOST_PROPOSALS // (WIDER * count))
        for start in range(0, len(doubtful), at_once):
            rows = doubtful[start : start + at_once]
            positions_QK[rows], products_QK[rows] = nearest(
                propose, vectors_ND, queries_QD[rows], k,
                rank_N=rank_N, own_Q=own_Q[rows], count=WIDER * count,
            )  # fmt: skip
    return positions_QK, products_QK


def inner_products(queries_QD: Vectors, vectors_ND: Vectors, positions_QM: Positions) -> Vectors:
    """Return the products of each query with the vectors at its positions; -inf for position -1.

    Products are computed one by one, so equal vectors have equal products in any batch. They are at
    most 1.
    """
    products = np.empty(positions_QM.shape, np.float32)
    faiss.fvec_inner_products_by_idx(  # type: ignore[attr-defined]
        faiss.swig_ptr(products), faiss.swig_ptr(queries_QD), faiss.swig_ptr(vectors_ND),
        faiss.swig_ptr(positions_QM), vectors_ND.shape[1], *positions_QM.shape,
    )  # fmt: skip
    return np.minimum(np.where(positions_QM < 0, -np.inf, products), 1.0).astype(np.float32)


def _best(products_QM: Vectors, rank_QM: NDArray[np.int64], k: int) -> tuple[Vectors, NDArray[Any]]:
    """Return the k largest products of each row, ties by rank, and their positions."""
    if products_QM.shape[1] > SORTED_AT_ONCE * k:
        return _best_of_most(products_QM, rank_QM, k)
    order = np.lexsort((rank_QM, -products_QM), axis=-1)[:, :k]
    return np.take_along_axis(products_QM, order, axis=1), order


def _best_of_most(
    products_QM: Vectors, rank_QM: NDArray[np.int64], k: int
) -> tuple[Vectors, NDArray[Any]]:
    """Return the same as `_best` without sorting everything: first select the larger ones."""
    most = SORTED_AT_ONCE * k
    larger = np.argpartition(-products_QM, most, axis=1)[:, :most]
    some = np.take_along_axis(products_QM, larger, axis=1)
    best, order = _best(some, np.take_along_axis(rank_QM, larger, axis=1), k)
    order = np.take_along_axis(larger, order, axis=1)
    for row in np.flatnonzero(best[:, -1] == some.min(axis=1)):  # a tie may continue outside
        order[row] = np.lexsort((rank_QM[row], -products_QM[row]))[:k]
    return best, order
