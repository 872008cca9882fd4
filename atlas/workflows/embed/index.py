"""The index of an atlas in `RUN/index`: building it and opening it.

Images are decoded while torch is loaded, which takes seconds. If the embedder is there already,
exported and checked, torch is not loaded at all.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import DataError, ProvenanceError, Stage
from atlas.core.execution import LOCAL, ExecutionSettings, end_part, executes
from atlas.core.files import AnyPath, InFolder
from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.core.timing import stage
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import ImageStore, store_being_filled
from atlas.inference.settings import AUTO, RuntimeOptions
from atlas.workflows.embed.ready_embedder import cached_embedder, made_for, ready_embedder
from index.index_folder import EMBEDDER_FOLDER, IndexFolder, load_index, save_index
from index.search.open_search import prepare_search
from index.settings import SearchSettings
from retrieval.embedder_folder import copy_embedder, embedded_size_px, require_runtime
from retrieval.embedding import Embeds, ExportedEmbedder, embed_store, load_exported
from retrieval.sources import is_untrained, source_of

if TYPE_CHECKING:
    import pandas as pd

    from index.search.approximate import Tuned
    from index.search.stored import Stored
    from retrieval.embedder import Embedder

Query = str | Path | NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Index(InFolder):
    """An index on disk that is open for searches.

    Attributes:
        folder: The index folder.
        opened: Its vectors, ids, labels and settings.
        started_from: The origin of the weights of its embedder.
        runtime_checks: The runtimes that were tried when it was built, in order.
        searched: The tuned search, or the store; None if the search is exact and in one process.
    """

    folder: Path
    opened: IndexFolder
    started_from: str = ""
    runtime_checks: tuple[dict[str, Any], ...] = ()
    searched: "Tuned | Stored | None" = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.opened.ids)

    def search(self, queries: Query | Sequence[Query], k: int = 10) -> "pd.DataFrame":
        """Find the k most similar references of each query.

        Args:
            queries: Ids of the atlas, paths of image files, or images as uint8 arrays of
                C x H x W; one of them, or several. An id never finds itself.
            k: How many references are found for each query.

        Returns:
            A row for each hit, best first: query (a number for an array), rank, match, similarity
            (the cosine of the embeddings), labels and identity.

        Raises:
            UserError: A query cannot be read.

        Example:
            >>> atlas.open_index("runs/index").search("photo.png", k=3)  # doctest: +SKIP
        """
        from atlas.workflows.embed.search import search_index

        if isinstance(queries, str | Path | np.ndarray):
            queries = [queries]
        return search_index(self.opened, queries, k)

    def _repr_html_(self) -> str:
        about = self.opened
        return (
            f"<p>Index of {len(self):,} images of {about.spec.name}: {about.image_size_px} px, "
            f"{about.dimension} dimensions, in {self.folder}</p>"
            f"{about.table.head().to_html(index=False)}"
        )


def open_index(folder: AnyPath = "runs/index") -> Index:
    """Open an index that `build_index` wrote.

    Args:
        folder: The folder of the index.

    Raises:
        MissingStageError: There is no index.
        ProvenanceError: Its files do not belong together.

    Example:
        >>> len(atlas.open_index("runs/index"))  # doctest: +SKIP
        31072
    """
    return Index(folder=Path(folder), opened=load_index(Path(folder)))


def open_atlas_index(data: Path, index_folder: Path) -> tuple[Manifest, IndexFolder]:
    """Read an atlas and the index that was built from it.

    Raises:
        ProvenanceError: The labelled tables have changed since the index was built.
    """
    index = load_index(index_folder)
    manifest = read_manifest(data)
    if manifest.labelled.table_hash != index.table_hash:
        raise ProvenanceError(
            "the index was not built from this data, or the labelled images, labels or groups have "
            f"changed since then; run {Stage.INDEX.command} with the same --data"
        )
    return manifest, index


@executes()
@writes("out")
def build_index(
    data: AnyPath = "data",
    embedder: AnyPath = "runs/embedder",
    out: AnyPath = "runs/index",
    search: SearchSettings = SearchSettings(),
    runtime: RuntimeOptions | None = AUTO,
    *,
    image_size_px: int | None = None,
    execution: ExecutionSettings = LOCAL,
) -> Index:
    """Embed the labelled images of an atlas and write the index.

    Args:
        data: The atlas folder.
        embedder: The folder of a trained embedder, or a network that needs no training: "frozen"
            for the usual pretrained backbone, "timm:NAME" or "timm:NAME@FILE" for another one, or
            "torchscript:FILE" or "onnx:FILE" for a network that somebody else made. Such a file is
            a program; use only those of people whom you trust.
        out: The folder to write.
        search: How the index is searched, which is prepared here: tuned, or by a store that is
            filled with the vectors.
        runtime: What embeds; None keeps that of the embedder, which may be an index's own.
        image_size_px: The side that images are resized to for an embedder that needs no training;
            the most common side of the images, up to 512 px, unless given.
        execution: Where the long work runs.

    Raises:
        DataError: The data folder has problems.
        MissingStageError: There is no embedder.
        UserError: `out` holds something else, or the store cannot be written.
        ProvenanceError: The store holds the vectors of another embedder.

    Example:
        >>> gallery = atlas.build_index("data", "frozen", "runs/index")  # doctest: +SKIP
        >>> gallery.search("1fffd2fe", k=10)  # doctest: +SKIP
    """
    data, embedder, out = Path(data), os.fspath(embedder), Path(out)
    check_replaceable(out, "build_index")
    manifest = read_manifest(data)
    references = manifest.labelled
    if not references.rows:
        raise DataError(str(data), ["no labelled images: train.csv has no rows"])
    work = cache_folder(out)
    size_px = embedded_size_px(embedder, manifest, image_size_px)
    require_runtime(embedder, runtime or AUTO)
    with store_being_filled(manifest, work, size_px=size_px) as store:
        if runtime is None:
            key, ready = "", None if is_untrained(embedder) else load_exported(Path(embedder))
        else:
            key = made_for(embedder, runtime, references, size_px)
            ready = ready_embedder(embedder, key, references, store, out) or cached_embedder(
                embedder, key, runtime, work
            )
        used: Embeds = ready or _made(embedder, runtime, key, store, references, work)
        embeddings = embed_store(used, store, references.ids, folder=work / "embeddings")
    end_part()
    with stage("saving"), folder_written_beside(out, written_by="build_index") as folder:
        _save(folder / EMBEDDER_FOLDER, used, embedder)
        keys = store.keys(references.ids)
        save_index(folder, embeddings, references, keys, data=data, image_size_px=size_px)
        searched = prepare_search(folder, embeddings, search, references=references, previous=out)
    return Index(
        folder=out,
        opened=load_index(out),
        started_from=used.started_from,
        runtime_checks=used.runtime.checks if used.runtime else (),
        searched=searched,
    )


def _made(
    source: str,
    runtime: RuntimeOptions | None,
    key: str,
    store: ImageStore,
    references: Manifest,
    work: Path,
) -> "Embedder":
    """Return an embedder on the wanted runtime; see `build_index` and `made_for`."""
    with stage("loading torch"):  # which takes seconds, while images are decoded
        from atlas.workflows.embed.runtime_choice import with_runtime
        from atlas.workflows.embed.vectors import open_embedder

    def in_float32(bare: "Embedder") -> "Embedder":
        options = replace(runtime or AUTO, precision="float32")
        return with_runtime(bare, options, store, references, work)

    made = open_embedder(source, store, references, on_runtime=in_float32)
    if runtime is None:
        return made
    made = with_runtime(made, runtime, store, references, work)
    return replace(made, runtime=made.runtime and replace(made.runtime, made_for=key))


def _save(folder: Path, embedder: Embeds, source: str) -> None:
    """Write the embedder, whose weights are only copied if they are in a folder."""
    found = embedder.folder if isinstance(embedder, ExportedEmbedder) else source_of(source)
    if isinstance(found, Path) and embedder.runtime is not None:
        copy_embedder(found, folder, embedder.runtime, maker=embedder.maker)
        return
    from retrieval.embedder import Embedder, save_embedder

    assert isinstance(embedder, Embedder)
    save_embedder(folder, embedder)
