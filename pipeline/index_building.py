"""From an atlas and an embedder to `RUN/index`, which holds all that a query needs."""

from dataclasses import dataclass
from pathlib import Path

from atlas.errors import DataError
from atlas.files import check_replaceable, folder_written_beside
from atlas.manifest import read_manifest
from atlas.profiling import stage
from engine.runtime_settings import AUTO, RuntimeOptions
from index.approximate import Tuned
from index.index_folder import EMBEDDER_FOLDER, INDEX_FILE, IndexFolder, load_index, save_index
from pipeline.runtime_choice import runtime_told, with_runtime
from pipeline.search import tune_search
from pipeline.settings import SearchSettings
from pipeline.vectors import embedder_and_coming_store
from retrieval.embedder_files import save_embedder
from retrieval.embedding import embed_store


@dataclass(frozen=True, kw_only=True)
class BuiltIndex:
    """index: as loaded back from disk; started_from: where the embedder's weights came from;
    runtime_told: what embedded, and why that, a line each; search: None where it is exact."""

    index: IndexFolder
    started_from: str
    runtime_told: tuple[str, ...]
    search: Tuned | None


def build_index_of(
    data: Path,
    embedder: str,
    out: Path,
    search: SearchSettings = SearchSettings(),
    runtime: RuntimeOptions | None = AUTO,
) -> BuiltIndex:
    """Embeds the labelled images of `data` and writes the index to `out`.

    embedder: a folder that `train_embedder.py` wrote, or "frozen" for a pretrained trunk as it is.
    runtime: what to embed by; None leaves that of the embedder, which may be an index's own.
    """
    check_replaceable(out, holds=INDEX_FILE)
    manifest = read_manifest(data)
    references = manifest.labelled
    if not references.rows:
        raise DataError(str(data), ["no labelled images: train.csv has no rows"])
    work = out.parent / "store"
    with embedder_and_coming_store(embedder, manifest, work) as (ready, store):
        if runtime is not None:
            ready = with_runtime(ready, runtime, store, references, work)
        embeddings = embed_store(ready, store, references.ids, folder=work / "embeddings")
    with stage("saving"), folder_written_beside(out, holds=INDEX_FILE) as folder:
        save_embedder(folder / EMBEDDER_FOLDER, ready)
        save_index(folder, embeddings, references, data=data, image_size_px=store.size_px)
        tuned = tune_search(folder, embeddings, search)
    return BuiltIndex(
        index=load_index(out),
        started_from=ready.started_from,
        runtime_told=tuple(runtime_told(ready)),
        search=tuned,
    )
