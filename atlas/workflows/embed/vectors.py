"""Vectors of an atlas's images, made by an embedder or by a classifier."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from atlas.core.errors import UserError
from atlas.core.result_files import was_written
from atlas.core.timing import stage
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore, fill_store, store_being_filled
from classify import prediction
from classify.classifier import load_classifier
from classify.run_files import CARD_FILE
from retrieval.class_vectors import ClassVectors
from retrieval.embedder import Embedder, load_embedder
from retrieval.embedder_folder import HeldOut, embedded_size_px, require_channels
from retrieval.embedding import embed_store
from retrieval.foreign import foreign_embedder
from retrieval.frozen import frozen_embedder
from retrieval.settings import EmbedderSettings
from retrieval.sources import FileSource, PretrainedSource, is_untrained, source_of
from retrieval.whitening_sample import whitening_sample

Views = Literal[1, 8]


@dataclass(frozen=True, kw_only=True)
class VectorSource:
    """A source of vectors.

    Attributes:
        kind: What makes the vectors.
        store: The images at the size it needs.
        embed: Returns the vectors of ids, of unit length. Finished vectors are kept, so runs are
            resumable.
        started_from: The origin of its weights.
        held_out: The images that it did not train on, if it says so.
        class_is: What its training classes are, such as `identity`; empty if it does not say so.
        class_vectors: A vector for each of these classes, if it has them.
    """

    kind: Literal["untrained", "embedder", "classifier"]
    store: ImageStore
    embed: Callable[[Sequence[str]], EmbeddingSet]
    started_from: str
    held_out: HeldOut = field(default_factory=HeldOut)
    class_is: str = ""
    class_vectors: ClassVectors | None = None


def open_vectors(
    source: str, manifest: Manifest, work: Path, *, views: Views | None = None
) -> VectorSource:
    """Open a source of vectors; images and vectors are kept below `work`.

    A classifier gives the input of its last layer.

    Args:
        source: A network that needs no training, see `retrieval.sources`, or the folder of an
            embedder or classifier.
        manifest: The atlas.
        work: Where images and vectors are kept.
        views: The number of flips and rotations to average, instead of the embedder's own.

    Raises:
        MissingStageError: There is no embedder or classifier.
        DataError: It was trained on other channels.
        UserError: `views` are given for something that is not a trained embedder.
    """
    folder, untrained = Path(source), is_untrained(source)
    if not untrained and was_written(folder / CARD_FILE):
        if views is not None:
            raise UserError(f"{source} is a classifier, which has only one view; omit --views")
        return _of_classifier(folder, manifest, work)
    embedder, store = embedder_and_store(source, manifest, work)
    if views is not None:
        embedder = with_views(embedder, views)
    return VectorSource(
        kind="untrained" if untrained else "embedder",
        store=store,
        embed=partial(embed_store, embedder, store, folder=work / "embeddings"),
        started_from=embedder.started_from,
        held_out=embedder.held_out,
        class_is=embedder.provenance.get("class_is", ""),
        class_vectors=embedder.class_vectors,
    )


def embedder_and_store(source: str, manifest: Manifest, work: Path) -> tuple[Embedder, ImageStore]:
    """Return an embedder, and the atlas's images at its size, which are kept below `work`."""
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
    """Read an embedder, or make one that needs no training and is whitened on `references`.

    Images of `references` may still be decoded by another thread.

    Args:
        source: A network that needs no training, see `retrieval.sources`, or the folder of an
            embedder.
        store: The images.
        references: The images that an embedder without training is whitened on.
        on_runtime: As for `frozen_embedder`.
    """
    match source_of(source):
        case PretrainedSource() as pretrained:
            sample = whitening_sample(references)
            return frozen_embedder(store, sample, pretrained, on_runtime=on_runtime)
        case FileSource() as file:
            return foreign_embedder(store, whitening_sample(references), file)
        case folder:
            with stage("loading the embedder"):
                return load_embedder(folder)


def with_views(embedder: Embedder, views: Views) -> Embedder:
    """Return the embedder averaged over this number of flips and rotations, on torch.

    The network of the embedder is changed.

    Raises:
        UserError: The embedder is not trained; its whitening was measured over its own views.
    """
    if not isinstance(embedder.settings, EmbedderSettings):
        raise UserError(
            f"this embedder is not trained and always averages {embedder.settings.views} views; "
            "omit --views"
        )
    embedder.network.views = views
    settings = replace(embedder.settings, views=views)
    described = embedder.described and {**embedder.described, "views": views}
    # An export has its own views.
    return replace(embedder, settings=settings, described=described, runtime=None)


def embed_splits(
    embed: Callable[[Sequence[str]], EmbeddingSet], manifest: Manifest, *, test: bool
) -> EmbeddingSet:
    """Embed labelled and test images separately, so that vectors of other commands are reused."""
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
