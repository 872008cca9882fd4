"""Proposals of likely neighbours, with a bound on all that they leave out.

Whoever proposes may be quick and inexact: `index.search.vector_index` decides by exact products of
the proposals, and asks for more where the bound does not exclude a missed neighbour. Axes:
N vectors, D dimensions, Q queries, M proposals.
"""

from collections.abc import Callable
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Positions = NDArray[np.int64]

SPARE = 5  # more proposals than needed, so that a neighbour at the edge is seldom in doubt
SPARE_IN_FLOAT16 = 54  # float16 leaves some in doubt
MOST_ON_A_GPU = 2048  # neighbours of a query that faiss finds there
ROWS_AT_ONCE = 65_536


class Propose(Protocol):
    """Proposals for queries of unit length.

    (queries Q x D, count) -> positions Q x M, at least `count` of them where there are as many, -1
    for none; and for each query what the product of no vector that is left out exceeds. The latter
    is -inf where nothing is known: the proposals are then taken as they are.
    """

    def __call__(self, queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]: ...


MakePropose = Callable[[Vectors], Propose]


def flat_proposals(vectors_ND: Vectors) -> Propose:
    """Propose by all products in float32. The vectors are not copied."""
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


def gpu_proposals(vectors_ND: Vectors) -> Propose:
    """Propose by all GPUs, each with a part of the vectors. This has not run on a GPU."""
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16, options.shard = True, True
    flat = faiss.IndexFlatIP(vectors_ND.shape[1])
    flat.add(vectors_ND)
    on_gpus = faiss.index_cpu_to_all_gpus(flat, options)
    return float16_proposals(on_gpus, vectors_ND, most=MOST_ON_A_GPU)


def float16_proposals(index: faiss.Index, vectors_ND: Vectors, *, most: int) -> Propose:
    """Propose by an index that holds these vectors in float16 and sums in float32.

    most: neighbours that it can find; for more, all products in float32 are taken.
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
    """The length of what each vector loses in float16."""
    rounded = vectors_ND.astype(np.float16).astype(np.float32)
    return np.asarray(np.linalg.norm(vectors_ND - rounded, axis=1), np.float32)
