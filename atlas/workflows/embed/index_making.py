"""The two halves of building an index: embeddings of an atlas, and a folder of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.core.files import folder_written_beside
from atlas.core.timing import stage
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore
from atlas.inference.settings import RuntimeOptions
from atlas.workflows.embed.runtime_choice import with_runtime
from atlas.workflows.embed.vectors import open_embedder
from index.index_folder import EMBEDDER_FOLDER, INDEX_FILE, IndexFolder, load_index, save_index
from index.search.approximate import Tuned
from index.search.chosen import tune_search
from index.settings import SearchSettings
from retrieval.embedder import Embedder
from retrieval.embedder_files import save_embedder
from retrieval.embedding import embed_store


@dataclass(frozen=True, kw_only=True)
class BuiltIndex:
    """index: as loaded back from disk; started_from: where the embedder's weights came from;
    runtime_checks: of what may embed, in the order they were tried; search: None where exact."""

    index: IndexFolder
    started_from: str
    runtime_checks: tuple[dict[str, Any], ...]
    search: Tuned | None


def embed(
    source: str,
    store: ImageStore,
    references: Manifest,
    work: Path,
    runtime: RuntimeOptions | None,
) -> tuple[Embedder, EmbeddingSet]:
    """The embedder as it was run, and the embeddings of `references`, which are kept below `work`.

    store: may still be filling. runtime: None leaves the embedder's own.
    """
    embedder = open_embedder(source, store, references)
    if runtime is not None:
        embedder = with_runtime(embedder, runtime, store, references, work)
    return embedder, embed_store(embedder, store, references.ids, folder=work / "embeddings")


def save(
    out: Path,
    embedder: Embedder,
    embeddings: EmbeddingSet,
    references: Manifest,
    data: Path,
    search: SearchSettings,
) -> BuiltIndex:
    """Writes the index of `data` to `out`, with what its search is tuned to."""
    with stage("saving"), folder_written_beside(out, holds=INDEX_FILE) as folder:
        save_embedder(folder / EMBEDDER_FOLDER, embedder)
        save_index(folder, embeddings, references, data=data, image_size_px=embedder.image_size_px)
        tuned = tune_search(folder, embeddings, search)
    return BuiltIndex(
        index=load_index(out),
        started_from=embedder.started_from,
        runtime_checks=embedder.runtime.checks if embedder.runtime else (),
        search=tuned,
    )
