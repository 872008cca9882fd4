"""Vectors of an atlas's images, whatever makes them: a frozen backbone, an embedder, a classifier."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from atlas.core.errors import UserError
from atlas.core.timing import stage
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore, fill_store, store_being_filled
from classify import prediction
from classify.classifier import load_classifier
from classify.run_files import CARD_FILE
from retrieval.embedder import Embedder, HeldOut, load_embedder
from retrieval.embedder_folder import FROZEN, embedded_size_px, require_channels
from retrieval.embedding import embed_store
from retrieval.frozen import frozen_embedder
from retrieval.settings import FrozenSettings

Views = Literal[1, 8]


@dataclass(frozen=True, kw_only=True)
class VectorSource:
    """What gives vectors, and the images as it sees them.

    embed: ids -> their vectors of unit length; what is embedded is kept, so runs are resumable.
    started_from: where its weights came from. held_out: what its training did not see, where it
        says so.
    """

    kind: Literal["frozen", "embedder", "classifier"]
    store: ImageStore
    embed: Callable[[Sequence[str]], EmbeddingSet]
    started_from: str
    held_out: HeldOut = field(default_factory=HeldOut)


def open_vectors(
    source: str, manifest: Manifest, work: Path, *, views: Views | None = None
) -> VectorSource:
    """Open what makes vectors; images and vectors are kept below `work`.

    source: "frozen" for a pretrained backbone as it is, or the folder of an embedder or classifier.
    A classifier gives its last layer's input. views: in place of the embedder's own.
    Raises MissingStageError where there is none, DataError where it learned from other channels,
    UserError for views of what is no trained embedder.
    """
    folder = Path(source)
    if source != FROZEN and (folder / CARD_FILE).exists():
        if views is not None:
            raise UserError(f"{source} is a classifier, which has one view: leave out --views")
        return _of_classifier(folder, manifest, work)
    embedder, store = embedder_and_store(source, manifest, work)
    if views is not None:
        embedder = with_views(embedder, views)
    return VectorSource(
        kind="frozen" if source == FROZEN else "embedder",
        store=store,
        embed=partial(embed_store, embedder, store, folder=work / "embeddings"),
        started_from=embedder.started_from,
        held_out=embedder.held_out,
    )


def embedder_and_store(source: str, manifest: Manifest, work: Path) -> tuple[Embedder, ImageStore]:
    """Return an embedder, and the atlas's images at its size, kept below `work`."""
    size_px = embedded_size_px(source, manifest)
    with store_being_filled(manifest, work, size_px=size_px) as store:
        embedder = open_embedder(source, store, manifest.labelled)
    return embedder, store


def open_embedder(
    source: str,
    store: ImageStore,
    references: Manifest,
    *,
    on_runtime: Callable[[Embedder], Embedder] = lambda bare: bare,
) -> Embedder:
    """Read an embedder; a frozen one is whitened on `references`, which may still be decoded.

    on_runtime: As for `frozen_embedder`.
    """
    if source == FROZEN:
        return frozen_embedder(store, references.ids, on_runtime=on_runtime)
    with stage("loading the embedder"):
        return load_embedder(Path(source))


def with_views(embedder: Embedder, views: Views) -> Embedder:
    """Return the embedder over so many flips and rotations, on torch; its network is changed.

    Raises UserError for a frozen one, whose whitening was measured over all eight.
    """
    if isinstance(embedder.settings, FrozenSettings):
        raise UserError("a frozen embedder is whitened over all 8 views: leave out --views")
    embedder.network.views = views
    settings = replace(embedder.settings, views=views)
    return replace(embedder, settings=settings, runtime=None)  # an export has its own views


def embed_splits(
    embed: Callable[[Sequence[str]], EmbeddingSet], manifest: Manifest, *, test: bool
) -> EmbeddingSet:
    """Embed labelled and test images apart, as the other commands embed and keep them."""
    splits = [manifest.labelled.ids, *([manifest.of("test").ids] if test else [])]
    return joined([embed(ids) for ids in splits])


def joined(sets: Sequence[EmbeddingSet]) -> EmbeddingSet:
    """Return the rows of several sets of one embedder as one set; some of them may be empty."""
    filled = [one for one in sets if one.ids]
    return EmbeddingSet(
        ids=tuple(image_id for one in filled for image_id in one.ids),
        vectors_ND=np.concatenate([one.vectors_ND for one in filled]),
        provenance=filled[0].provenance,
    )


def _of_classifier(folder: Path, manifest: Manifest, work: Path) -> VectorSource:
    classifier = load_classifier(folder)
    require_channels(str(folder), classifier.channels, manifest)
    store = fill_store(manifest, work, size_px=classifier.image_size_px)
    return VectorSource(
        kind="classifier",
        store=store,
        embed=partial(prediction.embed_store, classifier, store, folder=work / "embeddings"),
        started_from=classifier.started_from,
    )
