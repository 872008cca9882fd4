"""From an atlas and an embedder to `RUN/index`, which holds all that a query needs."""

from dataclasses import dataclass
from pathlib import Path

from atlas.errors import DataError, MissingStageError
from atlas.files import check_replaceable, folder_written_beside
from atlas.manifest import Manifest, read_manifest
from atlas.store import ImageStore, fill_store, native_size_px
from index.index_folder import EMBEDDER_FOLDER, INDEX_FILE, IndexFolder, load_index, save_index
from retrieval.embedder import Embedder
from retrieval.embedder_files import load_embedder, save_embedder
from retrieval.embedding import embed_store
from retrieval.frozen import frozen_embedder

FROZEN = "frozen"


@dataclass(frozen=True, kw_only=True)
class BuiltIndex:
    """index: as loaded back from disk; started_from: where the embedder's weights came from."""

    index: IndexFolder
    started_from: str


def build_index_of(data: Path, embedder: str, out: Path) -> BuiltIndex:
    """Embeds the labelled images of `data` and writes the index to `out`.

    embedder: a folder that `train_embedder.py` wrote, or "frozen" for a pretrained trunk as it is.
    """
    check_replaceable(out, holds=INDEX_FILE)
    if embedder != FROZEN and not Path(embedder).exists():
        raise MissingStageError(
            f"{embedder} is not there: run first  python scripts/train_embedder.py  "
            "(or give --embedder frozen, which needs no training)"
        )
    manifest = read_manifest(data)
    references = manifest.labelled
    if not references.rows:
        raise DataError(str(data), ["no labelled images: train.csv has no rows"])
    ready, store = _embedder_and_store(manifest, embedder, out.parent / "store")
    embeddings = embed_store(
        ready, store, references.ids, folder=out.parent / "store" / "embeddings"
    )
    with folder_written_beside(out, holds=INDEX_FILE) as folder:
        save_embedder(folder / EMBEDDER_FOLDER, ready)
        save_index(folder, embeddings, references, data=data, image_size_px=store.size_px)
    return BuiltIndex(index=load_index(out), started_from=ready.started_from)


def _embedder_and_store(
    manifest: Manifest, embedder: str, work: Path
) -> tuple[Embedder, ImageStore]:
    if embedder == FROZEN:
        store = fill_store(manifest, work, size_px=native_size_px(manifest))
        return frozen_embedder(store, manifest.labelled.ids), store
    trained = load_embedder(Path(embedder))
    if trained.channels != manifest.spec.channels:
        raise DataError(
            embedder,
            [f"trained on channels {trained.channels}, the data has {manifest.spec.channels}"],
        )
    return trained, fill_store(manifest, work, size_px=trained.image_size_px)
