"""Embeddings of images. Axes: N images, C channels, H x W pixels, D dimensions.

An embedder sees the same number of inputs at a time here whatever is asked for, so an image's
embedding is the same bit for bit in every run, alone or among others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from atlas.artifacts import EmbeddingSet
from atlas.files import content_hash
from atlas.parts import fill_parts
from atlas.store import ImageStore
from engine.inference import ReadImages, rows_of
from engine.runtimes import versions
from retrieval.embedder import Embedder

IMAGES_AT_ONCE = 128  # are embedded as soon as they are decoded: whole batches


def embed_store(
    embedder: Embedder, store: ImageStore, ids: Sequence[str], *, folder: Path | None
) -> EmbeddingSet:
    """The embeddings of stored images; kept below `folder`, where a killed run goes on."""
    return embed_rows(
        embedder, store.read, ids, keys=store.keys(ids), folder=folder, description="embedding"
    )


def embed_rows(
    embedder: Embedder,
    read: ReadImages,
    ids: Sequence[str],
    *,
    keys: Sequence[str],
    folder: Path | None,
    description: str,
) -> EmbeddingSet:
    """The embeddings of images that `read` gives: ids -> uint8 N x C x H x W.

    keys: of the pixels of each; what is kept of the same id, key and embedder is not made again.
    folder: where it is kept; None keeps nothing.
    """
    made_by = about(embedder)
    if folder is None or not ids:
        vectors_ND = _forward(embedder, read, ids, description)
    else:
        parts = fill_parts(
            folder / content_hash(embedder.maker),
            ids,
            lambda part_ids: _forward(embedder, read, part_ids, description),
            provenance=made_by,
            description=description,
            keys=keys,
            rows_at_once=IMAGES_AT_ONCE,
        )
        vectors_ND = parts.read(ids).astype(np.float32, copy=False)
    provenance = {"images": content_hash(*ids, *keys), **made_by}
    return EmbeddingSet(ids=tuple(ids), vectors_ND=vectors_ND, provenance=provenance)


def embed_images(embedder: Embedder, images_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 N x D of a few images at hand."""
    places = [str(n) for n in range(len(images_NCHW))]
    return rows_of(embedder.runner, lambda some: images_NCHW[[int(n) for n in some]], places)


def about(embedder: Embedder) -> dict[str, Any]:
    """What goes into the provenance of its embeddings; other versions round in other ways."""
    return {
        "embedder": embedder.maker,
        "started_from": embedder.started_from,
        "versions": versions(embedder.choice),
    }


def _forward(
    embedder: Embedder, read: ReadImages, ids: Sequence[str], description: str
) -> NDArray[np.float32]:
    with tqdm(total=len(ids), desc=description, unit="img", leave=False, position=1) as bar:

        def read_and_tell(some: Sequence[str]) -> NDArray[np.uint8]:
            bar.update(len(some))
            return read(some)

        return rows_of(embedder.runner, read_and_tell, ids)
