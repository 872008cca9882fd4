"""Vectors by id: add, delete, search.

A search is exact whoever proposes neighbours: the proposals are decided by exact products, one by
one, and more are asked for where their bound does not exclude a missed neighbour. So the answer
does not depend on who proposes, nor on what is asked beside it. Axes: N vectors, D dimensions,
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
WIDER = 4  # times as many proposals where they did not do
SORTED_AT_ONCE = 4  # proposals for each neighbour; of more the larger ones are picked first
MOST_PROPOSALS = 2**24  # at a time, for all queries together


class VectorIndex(Protocol):
    """Nearest neighbours by cosine, in terms of ids, whatever searches."""

    def add(self, embeddings: EmbeddingSet) -> None: ...

    def delete(self, ids: Sequence[str]) -> None: ...

    def search(self, queries: EmbeddingSet, k: int) -> Neighbours: ...


class FlatIndex:
    """All vectors side by side. Holds those of one embedder only.

    embedder: the fingerprint that the provenance of every added and asked vector must carry.
    make_propose: what proposes neighbours; made anew after vectors were added or deleted.
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
        """Return the k most similar ids of each query, never its own id; ties in order of ids."""
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
                f"make both with the same one ({Stage.INDEX.command})"
            )
        if embeddings.vectors_ND.shape[1] != self.dimension:
            raise ProvenanceError(
                f"vectors of {embeddings.vectors_ND.shape[1]} dimensions, "
                f"the index holds {self.dimension}"
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
    """Return positions Q x K, best first, -1 where there are no more, and products, -inf there.

    rank_N: among vectors of equal product that of lower rank comes first. own_Q: the position of
    the query itself, which is no neighbour; -1 where it is not among the vectors. count: so many
    proposals are asked for at first; enough where nothing is in doubt, unless given.
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
    """Return products of each query with the vectors at its positions: at most 1, -inf for -1.

    One by one, so that equal vectors have equal products, whatever stands beside them.
    """
    products = np.empty(positions_QM.shape, np.float32)
    faiss.fvec_inner_products_by_idx(  # type: ignore[attr-defined]
        faiss.swig_ptr(products), faiss.swig_ptr(queries_QD), faiss.swig_ptr(vectors_ND),
        faiss.swig_ptr(positions_QM), vectors_ND.shape[1], *positions_QM.shape,
    )  # fmt: skip
    return np.minimum(np.where(positions_QM < 0, -np.inf, products), 1.0).astype(np.float32)


def _best(products_QM: Vectors, rank_QM: NDArray[np.int64], k: int) -> tuple[Vectors, NDArray[Any]]:
    """The k largest of each row, ties by rank, and where they stand."""
    if products_QM.shape[1] > SORTED_AT_ONCE * k:
        return _best_of_most(products_QM, rank_QM, k)
    order = np.lexsort((rank_QM, -products_QM), axis=-1)[:, :k]
    return np.take_along_axis(products_QM, order, axis=1), order


def _best_of_most(
    products_QM: Vectors, rank_QM: NDArray[np.int64], k: int
) -> tuple[Vectors, NDArray[Any]]:
    """The same without sorting all: first the larger ones, in any order."""
    most = SORTED_AT_ONCE * k
    larger = np.argpartition(-products_QM, most, axis=1)[:, :most]
    some = np.take_along_axis(products_QM, larger, axis=1)
    best, order = _best(some, np.take_along_axis(rank_QM, larger, axis=1), k)
    order = np.take_along_axis(larger, order, axis=1)
    for row in np.flatnonzero(best[:, -1] == some.min(axis=1)):  # a tie may continue outside
        order[row] = np.lexsort((rank_QM[row], -products_QM[row]))[:k]
    return best, order
