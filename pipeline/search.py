"""The search of an index: what it was tuned to, or else the fastest exact one of this machine."""

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss

from atlas.artifacts import EmbeddingSet
from atlas.errors import UserError
from atlas.files import content_hash
from index.approximate import Tuned, load_search, save_search, tune, wanted_search
from index.float16 import gpu_proposals
from index.index_folder import IndexFolder
from index.nearest import MakePropose, flat_proposals
from index.vector_index import VectorIndex, build_index
from pipeline.settings import SearchSettings

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
    from engine.bfloat16 import processor_has_bfloat16  # they load torch, which takes seconds
    from engine.products import Bfloat16Proposals

    return Bfloat16Proposals if processor_has_bfloat16() else flat_proposals


def tune_search(folder: Path, embeddings: EmbeddingSet, settings: SearchSettings) -> Tuned | None:
    """Writes into an index folder what its search was tuned to; None for exact search.

    Raises UserError where the recall cannot be reached.
    """
    if not 0 < settings.recall <= 1:
        raise UserError(f"--recall {settings.recall}: a share above 0, and 1 for exact search")
    if settings.recall == 1:
        return None
    mib = math.inf if settings.search_mib is None else settings.search_mib
    exact = exact_search(embeddings).vectors
    index, tuned = tune(embeddings, exact, recall=settings.recall, mib=mib, tell=_tell)
    save_search(folder, index, tuned, wanted=asdict(settings))
    return tuned


def search_settings_of(folder: Path) -> SearchSettings:
    """Those that an index folder was made with."""
    return SearchSettings(**wanted_search(folder))


def _tell(tuned: Tuned) -> None:
    print(
        f"search {tuned.factory} {tuned.parameters}: recall {tuned.recall:.4f}, "
        f"{tuned.queries_per_second:.0f} queries/s, {tuned.mib:.0f} MiB",
        file=sys.stderr,
    )
