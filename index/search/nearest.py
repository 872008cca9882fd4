"""The k nearest vectors of each query, proven: proposals first, then exact products of those alone.

Who proposes may be quick and inexact. He says how near anything that he left out can be at most;
where that does not exclude a missed neighbour he is asked for more, and in the end for everything.
So the answer does not depend on who proposes, nor on what is asked beside it. Axes: N vectors,
D dimensions, Q queries, M proposals, K neighbours.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError

try:
    import faiss
except ImportError as error:  # the two wheels exclude each other, so neither is a plain requirement
    raise UserError(
        "faiss is not installed: pip install '.[cpu]', or '.[gpu]' on a CUDA machine"
    ) from error

Vectors = NDArray[np.float32]
Positions = NDArray[np.int64]

SPARE = 5  # more proposals than needed, so that a neighbour at the edge is seldom in doubt
WIDER = 4  # times as many proposals where they did not do
SORTED_AT_ONCE = 4  # proposals for each neighbour; of more the larger ones are picked first
MOST_PROPOSALS = 2**24  # at a time, for all queries together


class Propose(Protocol):
    """Proposals for queries of unit length.

    (queries Q x D, count) -> positions Q x M, at least `count` of them where there are as many, -1
    for none; and for each query what the product of no vector that is left out exceeds. The latter
    is -inf where nothing is promised: the proposals are then taken as they are.
    """

    def __call__(self, queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]: ...


MakePropose = Callable[[Vectors], Propose]


def flat_proposals(vectors_ND: Vectors) -> Propose:
    """By all products in float32. The vectors are looked at where they lie."""
    # Of a sum of D products of unit vectors, in any order: Higham, Accuracy and Stability of
    # Numerical Algorithms (2002), equation 3.5.
    rounding = np.float32(2.0**-23 * vectors_ND.shape[1])

    def propose(queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]:
        found_QM, positions_QM = faiss.knn(
            queries_QD, vectors_ND, min(count + SPARE, len(vectors_ND)),
            metric=faiss.METRIC_INNER_PRODUCT,
        )  # fmt: skip
        return positions_QM, found_QM[:, -1] + rounding

    return propose


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
    """Positions Q x K, best first, -1 where there are no more; and their products, -inf there.

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
    """Of each query with the vectors at its positions, -inf for -1; never more than 1.

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
    for row in np.flatnonzero(best[:, -1] == some.min(axis=1)):  # a tie may go on outside
        order[row] = np.lexsort((rank_QM[row], -products_QM[row]))[:k]
    return best, order
