"""Proposals of likely neighbours, with a bound on everything that they leave out.

Proposals may be quick and inexact: `index.search.vector_index` decides by exact products, and asks
for more proposals if the bound does not exclude a missed neighbour. Axes: N vectors, D dimensions,
Q queries, M proposals.
"""

from collections.abc import Callable
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Positions = NDArray[np.int64]

SPARE = 5  # additional proposals, so that the last neighbour is seldom in doubt
SPARE_IN_FLOAT16 = 54  # the same for float16, which leaves more in doubt
MOST_ON_A_GPU = 2048  # the largest k of faiss on a GPU
ROWS_AT_ONCE = 65_536


class Propose(Protocol):
    """A function that proposes neighbours for queries of unit length.

    It takes the queries (Q x D) and a count. It returns at least `count` positions for each query
    (Q x M; -1 if there are no more), and for each query an upper bound on the products of all
    vectors that are left out. A bound of -inf means that nothing is known; the proposals are then
    taken as they are.
    """

    def __call__(self, queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]:
        """Return positions (Q x M) and a bound for each query (Q)."""


MakePropose = Callable[[Vectors], Propose]


def flat_proposals(vectors_ND: Vectors) -> Propose:
    """Propose by all products in float32, without copying the vectors."""
    # The error of a sum of D products of unit vectors, in any order: Higham, Accuracy and
    # Stability of Numerical Algorithms (2002), equation 3.5.
    rounding = np.float32(2.0**-23 * vectors_ND.shape[1])

    def propose(queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]:
        found_QM, positions_QM = faiss.knn(
            queries_QD, vectors_ND, min(count + SPARE, len(vectors_ND)),
            metric=faiss.METRIC_INNER_PRODUCT,
        )  # fmt: skip
        return positions_QM, found_QM[:, -1] + rounding

    return propose


def gpu_proposals(vectors_ND: Vectors) -> Propose:
    """Propose by all GPUs, each with a part of the vectors.

    This function has not been tested on a GPU.
    """
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16, options.shard = True, True
    flat = faiss.IndexFlatIP(vectors_ND.shape[1])
    flat.add(vectors_ND)
    on_gpus = faiss.index_cpu_to_all_gpus(flat, options)
    return float16_proposals(on_gpus, vectors_ND, most=MOST_ON_A_GPU)


def float16_proposals(index: faiss.Index, vectors_ND: Vectors, *, most: int) -> Propose:
    """Propose by an index that holds these vectors in float16 and sums in float32.

    Args:
        index: The index.
        vectors_ND: The vectors in float32.
        most: The largest number of neighbours that the index finds; beyond it, all products in
            float32 are computed.
    """
    there, dimension = vectors_ND.shape
    blocks = (vectors_ND[n : n + ROWS_AT_ONCE] for n in range(0, there, ROWS_AT_ONCE))
    lost = max((float(_lost(block).max()) for block in blocks), default=0.0)
    summing = np.float32(2.0**-23 * dimension)  # as for `flat_proposals`

    def propose(queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]:
        if count > most:
            return flat_proposals(vectors_ND)(queries_QD, count)
        found_QM, positions_QM = index.search(
            queries_QD, min(count + SPARE_IN_FLOAT16, most, there)
        )
        # q v - q' v' = (q - q') v + q' (v - v'), where q' and v' are what rounding left.
        outside = found_QM[:, -1] + _lost(queries_QD) + lost * (1 + 2.0**-11) + summing
        return positions_QM, outside.astype(np.float32)

    return propose


def _lost(vectors_ND: Vectors) -> Vectors:
    """Return the length of what each vector loses in float16."""
    rounded = vectors_ND.astype(np.float16).astype(np.float32)
    return np.asarray(np.linalg.norm(vectors_ND - rounded, axis=1), np.float32)
