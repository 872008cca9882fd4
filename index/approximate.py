"""Quick search that may miss a neighbour now and then, as often as was asked for.

Compressed vectors propose, exact products of the proposals decide (`index/nearest.py`), so what is
found has its true similarity and only what is missed is lost. How many proposals are needed for a
recall is measured on vectors of the atlas itself, against exact search. Axes: N vectors,
D dimensions, Q queries, M proposals.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from atlas.artifacts import EmbeddingSet, Neighbours
from atlas.errors import UserError
from atlas.files import read_json, write_json, written_beside
from index.nearest import Positions, Propose, Vectors
from index.vector_index import FlatIndex, VectorIndex, build_index

INDEX_FILE, ABOUT_FILE = "search.faiss", "search.json"
QUERIES = 1000  # of the atlas, by which recall and speed are measured
NEIGHBOURS = 10
# Growing effort of each kind: faiss parameters, and proposals for each neighbour wanted.
EFFORTS: dict[str, list[tuple[str, int]]] = {
    "PQ": [("", 2), ("", 4), ("", 8), ("", 16), ("", 32), ("", 64)],
    "IVF": [(f"nprobe={n}", f) for n, f in ((8, 4), (16, 8), (32, 8), (64, 16), (128, 16), (256, 32))],
    "HNSW": [(f"efSearch={n}", 1) for n in (32, 64, 128, 256, 512)],
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A way to search and what it reached. factory, parameters: as faiss reads them. proposals: so
    many for each neighbour wanted. recall: share of the exact 10 nearest among those found.
    mib: of the index, beside the vectors."""

    factory: str
    parameters: str
    proposals: int
    recall: float
    queries_per_second: float
    mib: float


class FactoryProposals:
    """Called as `index.nearest` asks; promises nothing about what it leaves out."""

    def __init__(self, index: faiss.Index, parameters: str, proposals: int) -> None:
        self._index, self._proposals = index, proposals
        if parameters:
            faiss.ParameterSpace().set_index_parameters(index, parameters)

    def __call__(self, queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]:
        wanted = min(count * self._proposals, self._index.ntotal)
        _, positions_QM = self._index.search(queries_QD, wanted)
        return positions_QM, np.full(len(queries_QD), -np.inf, np.float32)


def factories(count: int, dimension: int) -> tuple[str, ...]:
    """What is tried for so many vectors: all of them compressed, parts of them, a graph.

    4-bit codes of 4 dimensions each, which processors compare 32 at a time (Andre, Kermarrec and
    Le Scouarnec, Cache locality is not enough, VLDB 2015).
    """
    codes = f"PQ{max(1, dimension // 4)}x4fs"
    lists = 2 ** int(np.log2(4 * np.sqrt(count)))
    return (codes, f"IVF{lists},{codes}", "HNSW16") if count >= 200_000 else (codes, "HNSW32")


def tune(
    embeddings: EmbeddingSet,
    exact: VectorIndex,
    *,
    recall: float,
    mib: float,
    seed: int = 0,
    tell: Callable[[Tuned], None] = lambda tuned: None,
) -> tuple[faiss.Index, Tuned]:
    """The quickest way that reaches the recall within so much memory.

    tell: hears of each way that reaches it. Raises UserError where none does.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(embeddings.ids), min(QUERIES, len(embeddings.ids)), replace=False)
    queries = embeddings.aligned_to([embeddings.ids[n] for n in sorted(chosen)])
    truth = exact.search(queries, NEIGHBOURS)
    best: tuple[faiss.Index, Tuned] | None = None
    for factory in factories(*embeddings.vectors_ND.shape):
        index = trained(factory, embeddings.vectors_ND)
        found = _reaching(index, factory, embeddings, queries, truth, recall)
        if found is None or found.mib > mib:
            continue
        tell(found)
        if best is None or found.queries_per_second > best[1].queries_per_second:
            best = index, found
    if best is None:
        raise UserError(
            f"no search reaches a recall of {recall} within {mib:.0f} MiB here: lower --recall, "
            "raise --search-mib, or leave both out for exact search"
        )
    return best


def trained(factory: str, vectors_ND: Vectors) -> faiss.Index:
    index = faiss.index_factory(vectors_ND.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors_ND)
    index.add(vectors_ND)
    return index


def recall_of(found: Neighbours, truth: Neighbours) -> float:
    """Share of the true neighbours that were found."""
    pairs = zip(found.reference_ids_NK, truth.reference_ids_NK, strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


def _reaching(
    index: faiss.Index, factory: str, embeddings: EmbeddingSet, queries: EmbeddingSet,
    truth: Neighbours, recall: float,
) -> Tuned | None:  # fmt: skip
    """The least effort of this kind that reaches the recall."""
    for parameters, proposals in EFFORTS[factory[: factory.index(next(filter(str.isdigit, factory)))]]:  # fmt: skip
        propose = FactoryProposals(index, parameters, proposals)
        searched = build_index(embeddings, lambda _, propose=propose: propose)
        start = time.perf_counter()
        reached = recall_of(searched.search(queries, NEIGHBOURS), truth)
        seconds = time.perf_counter() - start
        if reached >= recall:
            return Tuned(
                factory=factory,
                parameters=parameters,
                proposals=proposals,
                recall=reached,
                queries_per_second=len(queries.ids) / seconds,
                mib=_mib(index),
            )
    return None
