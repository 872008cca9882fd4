"""The search of an index: its store, the search it was tuned to, or the fastest exact one here.

The neighbours of many queries are kept block by block, so a search is resumable. Axes: N queries, K
neighbours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash, json_text
from atlas.core.row_cache import fill_rows
from atlas.core.timing import stage
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from atlas.dataset.manifest import Manifest
from atlas.inference.gpu import has_gpu
from index.index_folder import IndexFolder
from index.search.approximate import Tuned, load_search, save_search, tune, wanted_search
from index.search.milvus_index import content_of
from index.search.proposals import MakePropose, flat_proposals, gpu_proposals
from index.search.stored import (
    Stored,
    load_stored,
    open_stored,
    store_vectors,
)
from index.search.vector_index import VectorIndex, build_index
from index.settings import SearchSettings

PAYS_FROM = 20_000  # vectors, from which on a GPU saves more time than torch takes to load
QUERIES_PER_FILE = 4096


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search that is ready for queries.

    Attributes:
        vectors: The index.
        known: The vectors that are searched.
        tuned_for: The settings it was tuned for; empty if the search is exact.
    """

    vectors: VectorIndex
    known: EmbeddingSet
    tuned_for: Mapping[str, Any]

    @cached_property
    def known_hash(self) -> str:
        """Return the hash of the vectors that are searched."""
        return content_of(self.known)


def open_search(index: IndexFolder) -> Search:
    """Open the search of an index for many queries."""
    stored = load_stored(index.folder)
    return Search(
        vectors=open_vectors(index),
        known=index.embeddings,
        tuned_for={} if stored and stored.exact else wanted_search(index.folder),
    )


def open_vectors(index: IndexFolder, *, few_queries: bool = False) -> VectorIndex:
    """Open the vectors of an index for searches.

    If they are in a store, those of the index folder are not read.

    Args:
        index: The index folder.
        few_queries: Whether there are too few queries for a preparation to pay off.

    Raises:
        UserError: The store does not exist, or does not answer.
        ProvenanceError: The store does not hold the vectors of the index.
    """
    if stored := load_stored(index.folder):
        return open_stored(index.folder, stored)
    if propose := load_search(index.folder):
        return build_index(index.embeddings, lambda _: propose)
    return exact_search(index.embeddings, few_queries=few_queries).vectors


def exact_search(embeddings: EmbeddingSet, *, few_queries: bool = False) -> Search:
    """Return an exact search of these vectors; the result does not depend on how it searches."""
    plain = few_queries or len(embeddings.ids) < PAYS_FROM
    vectors = build_index(embeddings, flat_proposals if plain else _fastest())
    return Search(vectors=vectors, known=embeddings, tuned_for={})


def kept_neighbours(search: Search, queries: EmbeddingSet, k: int, *, folder: Path) -> Neighbours:
    """Return the k most similar known images of each query.

    Args:
        search: The search.
        queries: The vectors of the queries.
        k: The number of neighbours.
        folder: Where every finished block is kept, under a key of search and queries.
    """
    known = search.known
    position_of = {image_id: n for n, image_id in enumerate((*known.ids, ""))}
    about = {
        "k": k,
        "known": search.known_hash,
        "queries": content_of(queries),
        "tuned_for": search.tuned_for,
    }

    def make_rows(ids: Sequence[str]) -> NDArray[np.float64]:
        """Return positions among `known` and similarities, n x 2 x K."""
        with stage("searching", items=len(ids)):
            found = search.vectors.search(queries.aligned_to(ids), k)
        positions = [[position_of[i] for i in row] for row in found.reference_ids_NK]
        return np.stack([np.array(positions, np.float64), found.similarity_NK], axis=1)

    kept_N2K = fill_rows(
        folder / content_hash(json_text(about)),
        queries.ids,
        make_rows,
        provenance=about,
        description="nearest neighbours",
        rows_per_file=QUERIES_PER_FILE,
    ).read(queries.ids)
    names = np.array([*known.ids, ""], dtype=object)
    return Neighbours(
        query_ids=queries.ids,
        reference_ids_NK=names[kept_N2K[:, 0].astype(np.int64)],
        similarity_NK=kept_N2K[:, 1].astype(np.float32),
    )


def prepare_search(
    folder: Path,
    embeddings: EmbeddingSet,
    settings: SearchSettings,
    *,
    references: Manifest,
    previous: Path,
) -> Tuned | Stored | None:
    """Tune the search of an index folder or fill its store, and write there how it is searched.

    Args:
        folder: The index folder that is being written.
        embeddings: The vectors.
        settings: The settings of the search.
        references: The labelled images.
        previous: The index folder that is replaced; see `store_vectors`.

    Returns:
        The tuned search, or the filled store; None if the search is exact and in one process.

    Raises:
        UserError: The recall cannot be reached, or the store cannot be written.
        ProvenanceError: The store holds something else.
    """
    if settings.recall == 1 and settings.store is None:
        return None
    exact = exact_search(embeddings).vectors
    if settings.store is not None:
        return store_vectors(
            folder, embeddings, settings, exact=exact, previous=previous,
            splits={row.id: row.split for row in references.rows},
            identities={row.id: row.identity for row in references.rows},
        )  # fmt: skip
    mib = math.inf if settings.search_mib is None else settings.search_mib
    index, tuned = tune(embeddings, exact, recall=settings.recall, mib=mib)
    save_search(folder, index, tuned, wanted=asdict(settings))
    return tuned


def search_settings_of(folder: Path) -> SearchSettings:
    """Return the search settings that an index folder was built with."""
    return SearchSettings(**wanted_search(folder))


def _fastest() -> MakePropose:
    if faiss.get_num_gpus():  # only faiss-gpu finds any
        return gpu_proposals
    if not has_gpu():
        return flat_proposals
    from index.search.torch_proposals import first_gpu_proposals  # loads torch, which takes seconds

    return first_gpu_proposals
