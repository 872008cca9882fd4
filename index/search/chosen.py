"""The search of an index: what it was tuned to, or else the fastest exact one of this machine."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from atlas.core.files import content_hash
from atlas.dataset.artifacts import EmbeddingSet
from index.index_folder import IndexFolder
from index.search.approximate import Tuned, load_search, save_search, tune, wanted_search
from index.search.nearest import MakePropose, Positions, Propose, Vectors, flat_proposals
from index.search.vector_index import VectorIndex, build_index
from index.settings import SearchSettings

PAYS_FROM = 20_000  # vectors; below, plain search takes no time either


@dataclass(frozen=True, kw_only=True)
class Search:
    """known: the vectors that are searched. tuned_for: nothing where search is exact."""

    vectors: VectorIndex
    known: EmbeddingSet
    tuned_for: Mapping[str, Any]

    @cached_property
    def known_hash(self) -> str:
        return vectors_hash(self.known)


def vectors_hash(embeddings: EmbeddingSet) -> str:
    """Of ids and vectors."""
    return content_hash(*embeddings.ids, embeddings.vectors_ND)


def search_of(index: IndexFolder, *, few_queries: bool = False) -> Search:
    """few_queries: so few that nothing is prepared for them."""
    propose = load_search(index.folder)
    if propose is None:
        return exact_search(index.embeddings, few_queries=few_queries)
    return Search(
        vectors=build_index(index.embeddings, lambda _: propose),
        known=index.embeddings,
        tuned_for=wanted_search(index.folder),
    )


def exact_search(embeddings: EmbeddingSet, *, few_queries: bool = False) -> Search:
    """Answers are the same whatever proposes."""
    plain = few_queries or len(embeddings.ids) < PAYS_FROM
    vectors = build_index(embeddings, flat_proposals if plain else _fastest())
    return Search(vectors=vectors, known=embeddings, tuned_for={})


def _fastest() -> MakePropose:
    """What proposes among many vectors; of few all are quick."""
    if faiss.get_num_gpus():
        return gpu_proposals
    from atlas.training.precision import processor_has_bfloat16
    from index.search.bfloat16 import Bfloat16Proposals

    return Bfloat16Proposals if processor_has_bfloat16() else flat_proposals


def tune_search(folder: Path, embeddings: EmbeddingSet, settings: SearchSettings) -> Tuned | None:
    """Writes into an index folder what its search was tuned to; None for exact search.

    Raises UserError where the recall cannot be reached.
    """
    if settings.recall == 1:
        return None
    mib = math.inf if settings.search_mib is None else settings.search_mib
    exact = exact_search(embeddings).vectors
    index, tuned = tune(embeddings, exact, recall=settings.recall, mib=mib)
    save_search(folder, index, tuned, wanted=asdict(settings))
    return tuned


def search_settings_of(folder: Path) -> SearchSettings:
    """Those that an index folder was made with."""
    return SearchSettings(**wanted_search(folder))


# Likely neighbours by products of vectors in float16, as faiss keeps them on GPUs.
#
# Axes: N vectors, D dimensions, Q queries, M proposals.


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
