"""From an atlas and an embedder to `RUN/index`, which holds all that a query needs.

Images are decoded from the start on: loading torch takes seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atlas.core.errors import DataError
from atlas.core.files import check_replaceable
from atlas.core.row_cache import cache_folder
from atlas.core.timing import stage
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import store_being_filled
from atlas.inference.settings import AUTO, RuntimeOptions
from index.index_folder import INDEX_FILE
from index.settings import SearchSettings
from retrieval.embedder_folder import embedded_size_px

if TYPE_CHECKING:
    from atlas.workflows.embed.index_making import BuiltIndex


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
    work = cache_folder(out)
    size_px = embedded_size_px(embedder, manifest)
    with store_being_filled(manifest, work, size_px=size_px) as store:
        with stage("loading torch"):
            from atlas.workflows.embed import index_making
        ready, embeddings = index_making.embed(embedder, store, references, work, runtime)
    return index_making.save(out, ready, embeddings, references, data, search)
