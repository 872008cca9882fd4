"""Embeddings of images. Axes: N images, C channels, H x W pixels, D dimensions.

An embedder sees the same number of inputs at a time whatever is asked for, so an image's embedding
is the same bit for bit in every run, alone or among others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import content_hash
from atlas.core.progress import progress
from atlas.core.row_cache import fill_rows
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.store import ImageStore
from atlas.inference.openvino_runner import OpenVinoRunner
from atlas.inference.runner import ReadImages, Runner, rows_of
from atlas.inference.runtimes import versions
from atlas.inference.settings import RuntimeChoice
from retrieval.embedder_folder import damaged, load_runtime, read_about

IMAGES_AT_ONCE = 128  # are embedded as soon as they are decoded: whole batches


class Embeds(Protocol):
    """An embedder as far as embedding needs it, which may be without torch.

    maker: what makes its embeddings: those of equal makers may be compared.
    started_from: where its first weights were from.
    """

    @property
    def maker(self) -> str: ...
    @property
    def started_from(self) -> str: ...
    @property
    def choice(self) -> RuntimeChoice: ...
    @property
    def runner(self) -> Runner:
        """Raises UserError where this machine cannot run it as it was chosen to."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExportedEmbedder:
    """An embedder that runs from its exported network alone. model: the folder of that network."""

    maker: str
    started_from: str
    choice: RuntimeChoice
    model: Path

    @cached_property
    def runner(self) -> Runner:
        return OpenVinoRunner(self.model, self.choice.precision)


def load_for_queries(folder: Path) -> Embeds:
    """Read an embedder; its embeddings equal those of `load_embedder`, mostly without torch.

    Raises MissingStageError where there is none, UserError where it is damaged, or where this
    machine does not have the runtime that its index was made with.
    """
    about, runtime = read_about(folder), load_runtime(folder)
    if runtime is None or runtime.model is None:
        from retrieval.embedder import load_embedder  # loads torch, which takes seconds

        return load_embedder(folder)
    try:
        return ExportedEmbedder(
            maker=runtime.maker(about["fingerprint"]),
            started_from=about["provenance"]["started_from"],
            choice=runtime.choice,
            model=runtime.model,
        )
    except (KeyError, TypeError) as error:
        raise damaged(folder) from error


def embed_store(
    embedder: Embeds, store: ImageStore, ids: Sequence[str], *, folder: Path | None
) -> EmbeddingSet:
    """Return the embeddings of stored images, kept below `folder` so that the work is resumable."""
    return embed_rows(
        embedder, store.read, ids, keys=store.keys(ids), folder=folder, description="embedding"
    )


def embed_rows(
    embedder: Embeds,
    read: ReadImages,
    ids: Sequence[str],
    *,
    keys: Sequence[str],
    folder: Path | None,
    description: str,
) -> EmbeddingSet:
    """Return the embeddings of images that `read` gives: ids -> uint8 N x C x H x W.

    keys: of the pixels of each; what is kept of the same id, key and embedder is not made again.
    folder: where it is kept; None keeps nothing.
    """
    made_by = about(embedder)
    if folder is None or not ids:
        vectors_ND = _forward(embedder, read, ids, description)
    else:
        parts = fill_rows(
            folder / content_hash(embedder.maker),
            ids,
            lambda part_ids: rows_of(embedder.runner, read, part_ids),
            provenance=made_by,
            description=description,
            keys=keys,
            rows_at_once=IMAGES_AT_ONCE,
        )
        vectors_ND = parts.read(ids).astype(np.float32, copy=False)
    provenance = {"images": content_hash(*ids, *keys), **made_by}
    return EmbeddingSet(ids=tuple(ids), vectors_ND=vectors_ND, provenance=provenance)


def embed_images(embedder: Embeds, images_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the embeddings of a few images at hand, float32 N x D."""
    places = [str(n) for n in range(len(images_NCHW))]
    return rows_of(embedder.runner, lambda some: images_NCHW[[int(n) for n in some]], places)


def about(embedder: Embeds) -> dict[str, Any]:
    """Return the provenance of an embedder's embeddings; other versions round in other ways."""
    return {
        "embedder": embedder.maker,
        "started_from": embedder.started_from,
        "versions": versions(embedder.choice),
    }


def _forward(
    embedder: Embeds, read: ReadImages, ids: Sequence[str], description: str
) -> NDArray[np.float32]:
    with progress(description, total=len(ids)) as shown:

        def read_and_count(some: Sequence[str]) -> NDArray[np.uint8]:
            images = read(some)
            shown.update(len(some))
            return images

        return rows_of(embedder.runner, read_and_count, ids)
