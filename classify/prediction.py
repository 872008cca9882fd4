"""Compute what a classifier gives for stored images: probabilities over views, and features.

Features are the inputs of the last layer; they serve as vectors of images.

Axes: N images, C channels, H x W pixels, L labels, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import ProvenanceError, UserError
from atlas.core.files import content_hash, json_text
from atlas.core.row_cache import fill_rows
from atlas.core.row_work import RowMaker
from atlas.dataset.artifacts import EmbeddingSet, ProbabilitySet, common_keys
from atlas.dataset.store import ImageStore
from atlas.inference.runner import Runner, rows_of
from classify.classifier import Classifier, load_classifier, save_classifier
from classify.runtime import PredictionRuntime, prediction_runtime
from classify.settings import PredictionSettings, as_trained, prediction_problems
from classify.views import Features, Outputs, Probabilities

CLASSIFIERS_FOLDER = "classifiers"  # of workers, beside their predictions
RUNTIMES_FOLDER = "runtimes"  # of exported classifiers, beside their predictions
IMAGES_AT_ONCE = 160  # a multiple of the batch size, small enough for a smooth progress bar
PLAIN = PredictionSettings()  # each image once, or its central crop if training used crops


def predict(
    classifier: Classifier,
    store: ImageStore,
    ids: Sequence[str],
    *,
    folder: Path,
    prediction: PredictionSettings = PLAIN,
) -> ProbabilitySet:
    """Return probabilities of images, in the order of ids.

    They are kept below `folder` row by row, so a run that was stopped is resumable.

    Args:
        classifier: The classifier.
        store: The stored images.
        ids: The images to predict.
        folder: Folder that keeps the probabilities.
        prediction: Views and crops to predict.

    Raises:
        ProvenanceError: The stored images have other channels or another size than the classifier.
        UserError: The classifier cannot be used with these prediction settings.
    """
    _require_same_images(classifier, store)
    settings, size_px = classifier.settings, classifier.image_size_px
    if wrong := "; ".join(prediction_problems(prediction, settings, image_size_px=size_px)):
        raise UserError(wrong)
    prediction = as_trained(prediction, settings)
    wanted = _Wanted(classifier, prediction, store, ids, folder)
    return ProbabilitySet(
        ids=tuple(ids),
        probabilities_NC=_kept_rows(wanted, ids, folder, description="predicting"),
        provenance={
            "backbone": settings.backbone,
            "weights_hash": classifier.weights_hash,
            "images_hash": store.content_hash,
            "image_size_px": store.size_px,
            "labels": classifier.labels,
            "prediction": asdict(prediction),
            **wanted.runtime.about(),
        },
        image_keys=store.image_keys(ids),
    )


def mean_over(sets: Mapping[str, ProbabilitySet]) -> ProbabilitySet:
    """Return the mean of the probabilities of several classifiers, at least one, for the same ids.

    Raises:
        UserError: One of the classifiers lacks an id.
    """
    first = next(iter(sets.values()))
    rows_FNL = np.stack([one.aligned_to(first.ids).probabilities_NC for one in sets.values()])
    return ProbabilitySet(
        ids=first.ids,
        probabilities_NC=rows_FNL.mean(axis=0, dtype=np.float64).astype(np.float32),
        provenance={"mean_of": {name: one.provenance for name, one in sets.items()}},
        image_keys=common_keys([one.aligned_to(first.ids) for one in sets.values()]),
    )


def predict_images(classifier: Classifier, images_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return probabilities of a few images in memory, N x L, each seen once; nothing is kept.

    The images have the classifier's channels and size. torch predicts, because exporting the
    network would take longer.
    """
    outputs = _outputs(classifier, as_trained(PLAIN, classifier.settings))
    names = tuple(map(str, range(len(images_NCHW))))

    def read(some: Sequence[str]) -> NDArray[np.uint8]:
        return images_NCHW[[int(name) for name in some]]

    return rows_of(PredictionRuntime(precision=classifier.precision).runner(outputs), read, names)


def embed_store(
    classifier: Classifier, store: ImageStore, ids: Sequence[str], *, folder: Path
) -> EmbeddingSet:
    """Return features of stored images.

    They are kept below `folder` row by row, so a run that was stopped is resumable. The stored
    images have the classifier's channels and size.
    """
    wanted = _Wanted(classifier, None, store, ids, folder)
    return EmbeddingSet(
        ids=tuple(ids),
        vectors_ND=_kept_rows(wanted, ids, folder, description="embedding"),
        provenance={
            "images": content_hash(*ids, *store.keys(ids)),
            "classifier": classifier.weights_hash,
        },
    )


def _kept_rows(
    wanted: "_Wanted", ids: Sequence[str], folder: Path, *, description: str
) -> NDArray[np.float32]:
    """Return probabilities or features, N x ...

    Rows are kept below `folder`, so a run that was stopped is resumable and images that did not
    change cost nothing.
    """
    classifier = wanted.classifier
    if not ids:
        return np.empty((0, len(classifier.labels)), np.float32)
    made_by = {
        "classifier": classifier.weights_hash,
        **wanted.runtime.about(),
        "gives": asdict(wanted.prediction) if wanted.prediction else "features",
    }
    stored = fill_rows(
        folder / content_hash(json_text(made_by)),
        ids,
        wanted,
        provenance=made_by,
        description=description,
        keys=wanted.store.keys(ids),
        rows_at_once=IMAGES_AT_ONCE,
    )
    return np.asarray(stored.read(ids), np.float32)


class _Wanted(RowMaker):
    """Probabilities or features of images.

    Args:
        classifier: The classifier.
        prediction: The views over which probabilities are combined, or None for features.
        store: The stored images.
        ids: The images.
        folder: Folder that keeps the exported classifier, and the classifier for workers of a
            cluster.
    """

    uses_gpu = True

    def __init__(
        self,
        classifier: Classifier,
        prediction: PredictionSettings | None,
        store: ImageStore,
        ids: Sequence[str],
        folder: Path,
    ) -> None:
        self.classifier, self.prediction, self.store = classifier, prediction, store
        self._ids, self._folder = ids, folder

    def __call__(self, ids: Sequence[str]) -> NDArray[np.float32]:
        return rows_of(self._runner, self.store.read, ids)

    def only(self, ids: Sequence[str]) -> RowMaker:
        return _WantedPart(
            classifier=self._kept,
            prediction=self.prediction,
            store=self.store.only(ids),
            runtime=self.runtime,
        )

    @cached_property
    def runtime(self) -> PredictionRuntime:
        """The runtime that predicts."""
        if not self._ids:
            return PredictionRuntime(precision=self.classifier.precision)
        view_px = _outputs(self.classifier, self.prediction).prediction.view_px
        kept = self._folder / RUNTIMES_FOLDER
        return prediction_runtime(
            self.classifier, self.store, self._ids, view_px=view_px, folder=kept
        )

    @cached_property
    def _runner(self) -> Runner:
        return self.runtime.runner(_outputs(self.classifier, self.prediction))

    @cached_property
    def _kept(self) -> Path:
        folder = self._folder / CLASSIFIERS_FOLDER / content_hash(self.classifier.weights_hash)
        save_classifier(folder, self.classifier)
        return folder


@dataclass(frozen=True, kw_only=True)
class _WantedPart(RowMaker):
    """Probabilities or features of a part, which may be computed on another machine.

    Attributes:
        classifier: The folder of the classifier.
        prediction: The views over which probabilities are combined, or None for features.
        store: The images of the part.
        runtime: The runtime of the machine that wants the rows.
    """

    uses_gpu: ClassVar[bool] = True

    classifier: Path
    prediction: PredictionSettings | None
    store: ImageStore
    runtime: PredictionRuntime

    def __call__(self, ids: Sequence[str]) -> NDArray[np.float32]:
        runner = _loaded(self.classifier, self.prediction, self.runtime)
        return rows_of(runner, self.store.read, ids)

    def only(self, ids: Sequence[str]) -> "_WantedPart":
        return self


@lru_cache(maxsize=1)
def _loaded(
    classifier: Path, prediction: PredictionSettings | None, runtime: PredictionRuntime
) -> Runner:
    """Return a classifier, which a worker loads once for all of its parts."""
    return runtime.runner(_outputs(load_classifier(classifier), prediction))


def _outputs(classifier: Classifier, prediction: PredictionSettings | None) -> Outputs:
    """Return what is computed for an image."""
    if prediction is None:
        return Features(classifier.network, crop_px=classifier.settings.training.crop_px)
    return Probabilities(classifier.network, prediction)


def _require_same_images(classifier: Classifier, store: ImageStore) -> None:
    learned = (classifier.channels, classifier.image_size_px)
    if (store.channels, store.size_px) != learned:
        raise ProvenanceError(
            f"the classifier was trained on {', '.join(learned[0])} at {learned[1]} px, but the "
            f"images have {', '.join(store.channels)} at {store.size_px} px"
        )
