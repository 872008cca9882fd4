"""Compute embeddings of images.

The network always receives batches of the same size, so the embedding of an image is the same bit
for bit in every run on one machine, alone or among other images.

Axes: N images, C channels, H x W pixels, D dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import Stage
from atlas.core.files import content_hash
from atlas.core.progress import progress
from atlas.core.result_files import understood
from atlas.core.row_cache import fill_rows
from atlas.core.row_work import RowMaker
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.image_source import ImageSource
from atlas.inference.openvino_runner import OpenVinoRunner
from atlas.inference.runner import ReadImages, Runner, rows_of
from atlas.inference.runtimes import versions as versions_of
from atlas.inference.settings import RuntimeChoice
from retrieval.embedder_folder import (
    EMBEDDER_FILE,
    MODEL_FOLDER,
    EmbedderRuntime,
    HeldOut,
    copy_embedder,
    load_held_out,
    load_runtime,
    read_about,
)

EMBEDDERS_FOLDER = "embedders"  # of workers, beside their embeddings
IMAGES_AT_ONCE = 128  # images decoded before they are embedded; a multiple of the batch size


class Embeds(Protocol):
    """Describe what embedding needs of an embedder; some implementations do not load torch."""

    @property
    def maker(self) -> str:
        """Return a key of the embedder and its runtime; embeddings of equal keys are comparable."""

    @property
    def started_from(self) -> str:
        """Return where the first weights came from."""

    @property
    def runtime(self) -> EmbedderRuntime | None:
        """Return the runtime that was chosen for it; None means torch in float32."""

    @property
    def choice(self) -> RuntimeChoice:
        """Return the runtime and its precision."""

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the packages on which the embeddings depend."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Return how it was made, as JSON can store it."""

    @property
    def held_out(self) -> HeldOut:
        """Return the images that were not used for training."""

    @property
    def whitened_on(self) -> tuple[str, ...]:
        """Return the images that its whitening was learned on, if it has one."""

    @property
    def runner(self) -> Runner:
        """Return the network on its runtime; raise UserError if this machine lacks it."""


@dataclass(frozen=True, kw_only=True)
class ExportedEmbedder:
    """Embed images with an exported network, without torch.

    Attributes:
        folder: Folder of the embedder, which need not have the exported network.
        maker: Key of the embedder and its runtime.
        provenance: How it was made.
        held_out: Images that were not used for training.
        whitened_on: Images that its whitening was learned on, if it has one.
        runtime: The runtime, with the exported network.
    """

    folder: Path
    maker: str
    provenance: Mapping[str, Any]
    held_out: HeldOut
    whitened_on: tuple[str, ...]
    runtime: EmbedderRuntime

    @property
    def started_from(self) -> str:
        """Return where the first weights came from."""
        return str(self.provenance["started_from"])

    @property
    def choice(self) -> RuntimeChoice:
        """Return the runtime and its precision."""
        return self.runtime.choice

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the packages on which the embeddings depend."""
        return versions_of(self.choice)

    @cached_property
    def runner(self) -> Runner:
        """Return the exported network on its runtime."""
        assert self.runtime.model is not None
        return OpenVinoRunner(self.runtime.model, self.choice.precision)


def load_for_queries(folder: Path) -> Embeds:
    """Read an embedder, without torch where its runtime allows.

    Its embeddings equal those of `retrieval.embedder.load_embedder`.

    Raises:
        MissingStageError: The folder contains no embedder.
        UserError: The embedder is damaged, or this machine lacks its runtime.
    """
    if exported := load_exported(folder):
        return exported
    from retrieval.embedder import load_embedder  # loads torch, which takes seconds

    return load_embedder(folder)


def load_exported(folder: Path) -> ExportedEmbedder | None:
    """Read an embedder without torch, or return None where torch has to run it.

    Raises:
        MissingStageError: The folder contains no embedder.
        UserError: The embedder is damaged, or this machine lacks its runtime.
    """
    runtime = load_runtime(folder)
    return None if runtime is None or runtime.model is None else exported(folder, runtime)


def exported(folder: Path, runtime: EmbedderRuntime) -> ExportedEmbedder:
    """Return the embedder of a folder on a runtime that has its exported network.

    Raises:
        MissingStageError: The folder contains no embedder.
        UserError: The embedder is damaged.
    """
    about, (held_out, whitened_on) = read_about(folder), load_held_out(folder)
    with understood(folder / EMBEDDER_FILE, Stage.EMBEDDER):
        return ExportedEmbedder(
            folder=folder,
            maker=runtime.maker(about["fingerprint"]),
            provenance=about["provenance"],
            held_out=held_out,
            whitened_on=whitened_on,
            runtime=runtime,
        )


def embed_store(
    embedder: Embeds, store: ImageSource, ids: Sequence[str], *, folder: Path | None
) -> EmbeddingSet:
    """Return the embeddings of stored images.

    They are kept below `folder` row by row, so a run that was stopped is resumable. If `folder` is
    None, nothing is kept.
    """
    return embed_rows(embedder, store, ids, folder=folder, description="embedding")


def embed_rows(
    embedder: Embeds,
    images: ImageSource,
    ids: Sequence[str],
    *,
    folder: Path | None,
    description: str,
) -> EmbeddingSet:
    """Return the embeddings of images.

    Args:
        embedder: The embedder.
        images: What the images are read from. A kept embedding is reused if id, embedder and the
            key of the pixels are the same.
        ids: The images.
        folder: Folder that keeps the embeddings; None keeps nothing.
        description: Label of the progress bar.

    Returns:
        The embeddings in the order of `ids`, N x D.
    """
    made_by, keys = about(embedder), images.keys(ids)
    if folder is None or not ids:
        vectors_ND = _forward(embedder, images.read, ids, description)
    else:
        parts = fill_rows(
            folder / content_hash(embedder.maker),
            ids,
            _Embedding(embedder, images, folder / EMBEDDERS_FOLDER),
            provenance=made_by,
            description=description,
            keys=keys,
            rows_at_once=IMAGES_AT_ONCE,
        )
        vectors_ND = parts.read(ids).astype(np.float32, copy=False)
    provenance = {"images": content_hash(*ids, *keys), **made_by}
    return EmbeddingSet(ids=tuple(ids), vectors_ND=vectors_ND, provenance=provenance)


def embed_images(embedder: Embeds, images_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the embeddings of a few images in memory, float32 N x D."""
    places = [str(n) for n in range(len(images_NCHW))]
    return rows_of(embedder.runner, lambda some: images_NCHW[[int(n) for n in some]], places)


def about(embedder: Embeds) -> dict[str, Any]:
    """Return the provenance of the embeddings of an embedder.

    It includes library versions, because they may round differently.
    """
    return {
        "embedder": embedder.maker,
        "started_from": embedder.started_from,
        "versions": embedder.versions,
    }


class _Embedding(RowMaker):
    """The embeddings of images; for workers of a cluster, the embedder is kept below `folder`."""

    uses_gpu = True

    def __init__(self, embedder: Embeds, images: ImageSource, folder: Path) -> None:
        self._embedder, self._images, self._folder = embedder, images, folder

    def __call__(self, ids: Sequence[str]) -> NDArray[np.float32]:
        return rows_of(self._embedder.runner, self._images.read, ids)

    def only(self, ids: Sequence[str]) -> RowMaker:
        return _EmbeddingPart(embedder=self._kept, images=self._images.only(ids))

    @cached_property
    def _kept(self) -> Path:
        embedder, folder = self._embedder, self._folder / content_hash(self._embedder.maker)
        if isinstance(embedder, ExportedEmbedder):
            if embedder.runtime.model != embedder.folder / MODEL_FOLDER:
                copy_embedder(embedder.folder, folder, embedder.runtime, maker=embedder.maker)
                return folder
            return embedder.folder
        from retrieval.embedder import Embedder, save_embedder  # loads torch, which takes seconds

        assert isinstance(embedder, Embedder)
        save_embedder(folder, embedder)
        return folder


@dataclass(frozen=True, kw_only=True)
class _EmbeddingPart(RowMaker):
    """The embeddings of a part, which may be computed on another machine.

    Attributes:
        embedder: The folder of the embedder.
        images: The images of the part.
    """

    uses_gpu: ClassVar[bool] = True

    embedder: Path
    images: ImageSource

    def __call__(self, ids: Sequence[str]) -> NDArray[np.float32]:
        return rows_of(_loaded(self.embedder).runner, self.images.read, ids)

    def only(self, ids: Sequence[str]) -> "_EmbeddingPart":
        return self


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> Embeds:
    """Return an embedder, which a worker loads once for all of its parts."""
    return load_for_queries(folder)


def _forward(
    embedder: Embeds, read: ReadImages, ids: Sequence[str], description: str
) -> NDArray[np.float32]:
    with progress(description, total=len(ids)) as shown:

        def read_and_count(some: Sequence[str]) -> NDArray[np.uint8]:
            images = read(some)
            shown.update(len(some))
            return images

        return rows_of(embedder.runner, read_and_count, ids)
