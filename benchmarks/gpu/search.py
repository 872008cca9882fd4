"""Exact search on the device: queries per second, as shares of what its memory and its matrix units
can do.

Both sizes are of 512 dimensions: as many vectors as train and HPA v18 have fields, and a million.
What proposes is measured alone, and with everything around it: exact products on the processor,
ties, ids. faiss-gpu is measured where it is installed, and faiss on the processor as the reference,
by fewer queries.
"""

from collections.abc import Callable
from functools import partial

import faiss
import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet
from benchmarks.gpu.device import Device
from benchmarks.gpu.part import Work
from benchmarks.gpu.vectors import K, named, siblings
from index.search.proposals import MakePropose, gpu_proposals
from index.search.torch_proposals import TorchProposals
from index.search.vector_index import QUERIES_AT_ONCE, build_index

Vectors = NDArray[np.float32]
SIZES, TINY_SIZES = ((111_072, 8192), (1_000_000, 4096)), ((3000, 300), (9000, 300))
DIMENSION, TINY_DIMENSION = 512, 32
REFERENCE_QUERIES = 256  # by which faiss on the processor is measured and compared
BYTES = 2  # of a rounded number


def run(work: Work) -> None:
    """Search among both sizes."""
    flops, bytes_per_s = work.device.peaks(tiny=work.tiny)
    work.found("device", bfloat16_tflops=flops / 1e12, copying_gb_per_s=bytes_per_s / 1e9)
    if not faiss.get_num_gpus():
        work.found("device", faiss_gpu="not installed, or it finds no GPU: left out")
    dimension = TINY_DIMENSION if work.tiny else DIMENSION
    for count, queries in TINY_SIZES if work.tiny else SIZES:
        vectors, asked = siblings(count, queries, dimension, work.device)
        group = f"{queries:,} queries among {count:,} x {dimension}"
        measure_search(work, group, named("v", vectors), asked, (flops, bytes_per_s))


def ways(device: Device) -> dict[str, MakePropose]:
    """Return what can propose on this device."""
    made: dict[str, MakePropose] = {"torch": partial(TorchProposals, device=device.kind)}
    if faiss.get_num_gpus():
        made["faiss_gpu"] = gpu_proposals
    return made


def measure_search(
    work: Work,
    group: str,
    known: EmbeddingSet,
    asked: Vectors,
    peaks: tuple[float, float],
) -> None:
    """Measure each way, and compare its answers with those of faiss on the processor."""
    index = build_index(known)
    few = named("q", asked[:REFERENCE_QUERIES])
    expected = index.search(few, K)
    rate = len(few.ids) / work.device.seconds_of(lambda: index.search(few, K), rounds=1)
    work.found(group, faiss_on_the_processor_queries_per_s=rate)
    for name, make in ways(work.device).items():
        found = index.proposing(make)
        answers = found.search(few, K)
        same = bool((answers.reference_ids_NK == expected.reference_ids_NK).all())
        bits = bool((answers.similarity_NK == expected.similarity_NK).all())
        detail = f"{len(few.ids)} queries: ids and bits equal those of faiss: {same and bits}"
        work.check(f"{name}, {group}", same and bits, detail)
        queries = named("q", asked)
        whole = len(asked) / work.device.seconds_of(partial(found.search, queries, K), rounds=3)
        work.found(group, **{f"{name}_queries_per_s": whole})
        propose = make(known.vectors_ND)
        alone = len(asked) / work.device.seconds_of(partial(in_blocks, propose, asked), rounds=3)
        shares = device_shares(alone, len(index), asked.shape[1], peaks)
        work.found(
            group,
            **{f"{name}_proposals_alone_{what}": value for what, value in shares.items()},
        )


def in_blocks(propose: Callable[[Vectors, int], object], asked: Vectors) -> None:
    """Ask for the proposals of all queries, as the index does."""
    for start in range(0, len(asked), QUERIES_AT_ONCE):
        propose(asked[start : start + QUERIES_AT_ONCE], K + 1)


def device_shares(
    rate: float, count: int, dimension: int, peaks: tuple[float, float]
) -> dict[str, float]:
    """Return queries per second, and what they take of both limits of the device.

    Bytes are the fewest that an exact search by blocks of queries can move: all vectors once for
    each block, and each product written once and read once.
    """
    flops, bytes_per_s = peaks
    vectors = BYTES * count * dimension / QUERIES_AT_ONCE
    return {
        "queries_per_s": rate,
        "share_of_matrix_products": rate * 2 * count * dimension / flops,
        "share_of_memory_bandwidth": rate * (vectors + 2 * BYTES * count) / bytes_per_s,
    }
