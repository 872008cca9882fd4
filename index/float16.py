"""Likely neighbours by products of vectors in float16, as faiss keeps them on GPUs.

Axes: N vectors, D dimensions, Q queries, M proposals.
"""

import faiss
import numpy as np

from index.nearest import Positions, Propose, Vectors, flat_proposals

MOST_ON_A_GPU = 2048  # neighbours of a query that faiss finds there
SPARE = 54  # more proposals than needed: float16 leaves some in doubt
ROWS_AT_ONCE = 65_536


def gpu_proposals(vectors_ND: Vectors) -> Propose:
    """By all GPUs of the machine, each with a part of the vectors. This has not run on a GPU."""
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16, options.shard = True, True
    flat = faiss.IndexFlatIP(vectors_ND.shape[1])
    flat.add(vectors_ND)
    on_gpus = faiss.index_cpu_to_all_gpus(flat, options)
    return float16_proposals(on_gpus, vectors_ND, most=MOST_ON_A_GPU)


def float16_proposals(index: faiss.Index, vectors_ND: Vectors, *, most: int) -> Propose:
    """By an index that holds these vectors in float16 and sums in float32.

    most: neighbours that it can find; who asks for more gets float32 products of all.
    """
    there, dimension = vectors_ND.shape
    blocks = (vectors_ND[n : n + ROWS_AT_ONCE] for n in range(0, there, ROWS_AT_ONCE))
    lost = max((float(_lost(block).max()) for block in blocks), default=0.0)
    summing = np.float32(2.0**-23 * dimension)  # as for `flat_proposals`

    def propose(queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]:
        if count > most:
            return flat_proposals(vectors_ND)(queries_QD, count)
        found_QM, positions_QM = index.search(queries_QD, min(count + SPARE, most, there))
        # q v - q' v' = (q - q') v + q' (v - v'), where q' and v' are what rounding left.
        outside = found_QM[:, -1] + _lost(queries_QD) + lost * (1 + 2.0**-11) + summing
        return positions_QM, outside.astype(np.float32)

    return propose


def _lost(vectors_ND: Vectors) -> Vectors:
    """The length of what float16 cuts off each vector."""
    rounded = vectors_ND.astype(np.float16).astype(np.float32)
    return np.asarray(np.linalg.norm(vectors_ND - rounded, axis=1), np.float32)
