"""The index of an atlas in `RUN/index`: built from an atlas and an embedder, opened beside it.

Images are decoded from the start on, as loading torch takes seconds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.core.errors import DataError, ProvenanceError, Stage
from atlas.core.files import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.core.timing import stage
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import store_being_filled
from atlas.inference.settings import AUTO, RuntimeOptions
from index.index_folder import EMBEDDER_FOLDER, INDEX_FILE, IndexFolder, load_index, save_index
from index.settings import SearchSettings
from retrieval.embedder_folder import embedded_size_px

if TYPE_CHECKING:
    from index.search.approximate import Tuned


@dataclass(frozen=True, kw_only=True)
class BuiltIndex:
    """index: as loaded back from disk; started_from: where the embedder's weights came from;
    runtime_checks: of the runtimes that were tried, in order; search: None where it is exact."""

    index: IndexFolder
    started_from: str
    runtime_checks: tuple[dict[str, Any], ...]
    search: "Tuned | None"


def open_atlas_index(data: Path, index_folder: Path) -> tuple[Manifest, IndexFolder]:
    """Read an atlas and the index that was made from it.

    Raises ProvenanceError where the labelled tables are not those that the index holds.
    """
    index = load_index(index_folder)
    manifest = read_manifest(data)
    if manifest.labelled.table_hash != index.table_hash:
        raise ProvenanceError(
            "the index was not made from this data, or its labelled images, labels or groups have "
            f"changed since: run  {Stage.INDEX.command}  with the same --data"
        )
    return manifest, index


def build_index_of(
    data: Path,
    embedder: str,
    out: Path,
    search: SearchSettings = SearchSettings(),
    runtime: RuntimeOptions | None = AUTO,
) -> BuiltIndex:
    """Embed the labelled images of `data` and write the index to `out`.

    embedder: a folder that `train_embedder.py` wrote, or "frozen" for a pretrained trunk as it is.
    runtime: what to embed by; None leaves that of the embedder, which may be an index's own.
    search: how the index is searched, which is tuned here.
    """
    check_replaceable(out, holds=INDEX_FILE)
    manifest = read_manifest(data)
    references = manifest.labelled
    if not references.rows:
        raise DataError(str(data), ["no labelled images: train.csv has no rows"])
    work = cache_folder(out)
    size_px = embedded_size_px(embedder, manifest)
    with store_being_filled(manifest, work, size_px=size_px) as store:
        with stage("loading torch"):  # which takes seconds, while images are decoded
            from atlas.workflows.embed.runtime_choice import with_runtime
            from atlas.workflows.embed.vectors import open_embedder
            from index.search.open_search import tune_search
            from retrieval.embedder import save_embedder
            from retrieval.embedding import embed_store
        ready = open_embedder(embedder, store, references)
        if runtime is not None:
            ready = with_runtime(ready, runtime, store, references, work)
        embeddings = embed_store(ready, store, references.ids, folder=work / "embeddings")
    with stage("saving"), folder_written_beside(out, holds=INDEX_FILE) as folder:
        save_embedder(folder / EMBEDDER_FOLDER, ready)
        save_index(folder, embeddings, references, data=data, image_size_px=ready.image_size_px)
        tuned = tune_search(folder, embeddings, search)
    return BuiltIndex(
        index=load_index(out),
        started_from=ready.started_from,
        runtime_checks=ready.runtime.checks if ready.runtime else (),
        search=tuned,
    )
