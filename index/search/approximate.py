"""Quick search that misses a neighbour now and then, as rarely as the wanted recall requires.

Compressed vectors propose candidates and exact products decide (`index.search.vector_index`), so
every neighbour that is found has its true similarity. The number of proposals that a recall needs
is measured on vectors of the atlas against exact search. Axes: N vectors, D dimensions, Q queries,
M proposals.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from atlas.core.errors import Stage, UserError
from atlas.core.files import write_json
from atlas.core.result_files import check_result, read_json, was_written
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.index_folder import SEARCH_FILE, in_store
from index.search.proposals import Positions, Vectors
from index.search.vector_index import FlatIndex, VectorIndex, build_index

LOGGER = logging.getLogger(__name__)
FAISS_FILE = "search.faiss"
QUERIES = 1000  # images of the atlas that measure recall and speed
NEIGHBOURS = 10
MANY = 50_000  # from this number of vectors on, kinds that search only a part of them are tried
QUERY_BY_QUERY = 15  # how codes are compared; 1.4 times as quick as faiss's own choice
# Growing effort of each kind: faiss parameters, and the number of proposals per neighbour.
CODES = [("", n) for n in (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96)]
LISTS = [(f"nprobe={n}", m) for n, m in ((8, 4), (16, 8), (32, 8), (64, 16), (128, 16), (256, 32))]
GRAPH = [(f"efSearch={n}", 1) for n in (32, 64, 128, 256, 512)]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A tuned search and what it reached.

    Attributes:
        factory, parameters: The kind of index and its parameters, in the notation of faiss.
        proposals: The number of proposals for each neighbour.
        recall: The share of the exact 10 nearest neighbours that it found.
        queries_per_second: The speed.
        mib: The size of the index in MiB, in addition to the vectors.
    """

    factory: str
    parameters: str
    proposals: int
    recall: float
    queries_per_second: float
    mib: float

    @property
    def in_words(self) -> str:
        """What the search reached, as a line for people."""
        return (
            f"the search {self.factory} finds {self.recall:.2%} of the 10 nearest images, at "
            f"{self.queries_per_second:,.0f} queries/s"
        )


class FactoryProposals:
    """Proposals of a faiss index, without a bound on the vectors that it leaves out."""

    def __init__(self, index: faiss.Index, parameters: str, proposals: int) -> None:
        self._index, self._proposals = index, proposals
        if parameters:
            faiss.ParameterSpace().set_index_parameters(index, parameters)  # type: ignore[arg-type]

    def __call__(self, queries_QD: Vectors, count: int) -> tuple[Positions, Vectors]:
        """Return positions (Q x M) and -inf as the bound (Q): nothing is known of the others."""
        wanted = min(count * self._proposals, self._index.ntotal)
        _, positions_QM = self._index.search(queries_QD, wanted)
        return positions_QM, np.full(len(queries_QD), -np.inf, np.float32)


def factories(count: int, dimension: int) -> dict[str, list[tuple[str, int]]]:
    """Return what is tried for this number of vectors, each kind with growing effort.

    The kinds are all vectors compressed, parts of them, and a graph. Of the first 3/8 or 1/2 of the
    principal components, rotated at random, every two share a code of 4 bits; processors compare 32
    codes at a time (André, Kermarrec and Le Scouarnec, Cache locality is not enough, VLDB 2015).
    """
    less, more = (max(1, dimension * eighths // 16) for eighths in (3, 4))
    codes = [(f"PCAR{2 * n}", f"PQ{n}x4fs") for n in (less, more)]
    tried = {",".join(code): CODES for code in codes}
    if count < MANY:
        return tried
    lists = f"IVF{2 ** int(np.log2(4 * np.sqrt(count)))}"
    components, code = codes[-1]
    return {**tried, f"{components},{lists},{code}": LISTS, "HNSW16": GRAPH}


def tune(
    embeddings: EmbeddingSet,
    exact: VectorIndex,
    *,
    recall: float,
    mib: float,
    seed: int = 0,
) -> tuple[faiss.Index, Tuned]:
    """Return the quickest search that reaches the recall within the memory limit.

    Each kind is logged with the least effort that reached the recall, or otherwise the most.

    Args:
        embeddings: The vectors to search.
        exact: An exact search of the same vectors.
        recall: The share of the 10 nearest neighbours that must be found.
        mib: The most memory in MiB that the index may take.
        seed: The seed of the sample of queries.

    Raises:
        UserError: No search reaches the recall within the limit.
    """
    queries = sample_queries(embeddings, seed)
    truth, vectors = exact.search(queries, NEIGHBOURS), build_index(embeddings)
    best: tuple[faiss.Index, Tuned] | None = None
    for factory, efforts in factories(*embeddings.vectors_ND.shape).items():
        index = trained(factory, embeddings.vectors_ND)
        for parameters, proposals in efforts:
            way = FactoryProposals(index, parameters, proposals)
            reached, speed = _measured(way, vectors, queries, truth)
            if reached >= recall:
                break
        found = Tuned(
            factory=factory, parameters=parameters, proposals=proposals, recall=reached,
            queries_per_second=speed, mib=_mib(index),
        )  # fmt: skip
        LOGGER.info(
            f"search {factory} {parameters}: recall {reached:.4f}, {speed:.0f} queries/s, "
            f"{found.mib:.0f} MiB"
        )
        fits = found.recall >= recall and found.mib <= mib
        if fits and (best is None or speed > best[1].queries_per_second):
            best = index, found
    if best is None:
        raise UserError(
            f"no approximate search reaches a recall of {recall} within {mib:.0f} MiB; lower "
            "--recall, raise --search-mib, or omit both for exact search"
        )
    return best


def sample_queries(embeddings: EmbeddingSet, seed: int = 0) -> EmbeddingSet:
    """Return some of the vectors at random, which measure the recall of a search."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(embeddings.ids), min(QUERIES, len(embeddings.ids)), replace=False)
    return embeddings.aligned_to([embeddings.ids[n] for n in sorted(chosen)])


def trained(factory: str, vectors_ND: Vectors) -> faiss.Index:
    """Return a faiss index of this kind that contains the vectors."""
    index = faiss.index_factory(vectors_ND.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors_ND)
    index.add(vectors_ND)
    # A kind that rotates vectors first wraps the index that searches.
    innermost = faiss.downcast_index(getattr(index, "index", index))
    if isinstance(innermost, faiss.IndexPQFastScan):
        innermost.implem = QUERY_BY_QUERY
    return index


def recall_of(found: Neighbours, truth: Neighbours) -> float:
    """Return the share of the true neighbours that were found."""
    pairs = zip(found.reference_ids_NK, truth.reference_ids_NK, strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


def save_search(
    folder: Path, index: faiss.Index, tuned: Tuned, *, wanted: Mapping[str, Any]
) -> None:
    """Write a tuned search, with the wanted settings, so that it can be tuned again."""
    faiss.write_index(index, str(folder / FAISS_FILE))
    write_json(folder / SEARCH_FILE, {"wanted": wanted, "tuned": asdict(tuned)})


def load_search(folder: Path) -> FactoryProposals | None:
    """Read the tuned search of an index folder, or return None if it has none.

    The index is memory-mapped: parts of it are read when they are needed.
    """
    if in_store(folder) or not was_written(folder / SEARCH_FILE):
        return None
    tuned = Tuned(**read_json(folder / SEARCH_FILE, stage=Stage.INDEX)["tuned"])
    check_result(folder / FAISS_FILE, Stage.INDEX)  # faiss has no checksums
    index = faiss.read_index(str(folder / FAISS_FILE), faiss.IO_FLAG_MMAP_IFC)
    return FactoryProposals(index, tuned.parameters, tuned.proposals)


def wanted_search(folder: Path) -> dict[str, Any]:
    """Return the settings of the search; empty if it is exact and in one process."""
    path = folder / SEARCH_FILE
    return dict(read_json(path, stage=Stage.INDEX)["wanted"]) if was_written(path) else {}


def _measured(
    way: FactoryProposals, vectors: FlatIndex, queries: EmbeddingSet, truth: Neighbours
) -> tuple[float, float]:
    """Return the recall and the number of queries per second."""
    searched = vectors.proposing(lambda _: way)
    start = time.perf_counter()
    found = searched.search(queries, truth.reference_ids_NK.shape[1])
    return recall_of(found, truth), len(queries.ids) / (time.perf_counter() - start)


def _mib(index: faiss.Index) -> float:
    """Return the size of the written index, without writing it or copying it in memory."""
    sizes: list[int] = []
    writer = faiss.PyCallbackIOWriter(lambda part: sizes.append(len(part)))  # type: ignore[attr-defined]
    faiss.write_index(index, writer)
    return sum(sizes) / 2**20
