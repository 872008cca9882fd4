"""Probabilities of stored images. Axes: N images, C classes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.artifacts import ProbabilitySet
from atlas.errors import ProvenanceError, UserError
from atlas.store import ImageStore
from classify.classifier import Classifier
from classify.kept import kept_rows
from classify.prediction_settings import (
    PredictionSettings,
    as_trained,
    prediction_problems,
)
from classify.views import OverViews
from engine.torch_runner import forward_rows

PLAIN = PredictionSettings()  # each image as it is, or its middle where training saw crops


def predict(
    classifier: Classifier,
    store: ImageStore,
    ids: Sequence[str],
    *,
    folder: Path,
    prediction: PredictionSettings = PLAIN,
) -> ProbabilitySet:
    """Probabilities of the images, in the order of ids; kept below `folder`, row by row.

    Raises ProvenanceError where the store's channels or size are not the classifier's, UserError
    where it cannot predict so.
    """
    _require_same_images(classifier, store)
    if wrong := "; ".join(_problems(prediction, classifier)):
        raise UserError(wrong)
    prediction = as_trained(prediction, classifier.settings)
    rows_NC = np.empty((0, len(classifier.labels)), np.float32)
    if ids:
        rows_NC = kept_rows(
            classifier,
            OverViews(classifier.network, prediction),
            store,
            ids,
            folder=folder,
            made_by={"gives": "probabilities", **asdict(prediction)},
            description="predicting",
        )
    return ProbabilitySet(
        ids=tuple(ids),
        probabilities_NC=rows_NC.reshape(len(ids), len(classifier.labels)),
        provenance={
            "trunk": classifier.settings.trunk,
            "weights_hash": classifier.weights_hash,
            "images_hash": store.content_hash,
            "image_size_px": store.size_px,
            "labels": classifier.labels,
            "prediction": asdict(prediction),
            "precision": classifier.precision,
        },
    )


def predict_images(classifier: Classifier, images_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities of a few images, N x C, each as it is; nothing is kept.

    images_NCHW: as stored, of the classifier's channels and size.
    """
    network = OverViews(classifier.network, as_trained(PLAIN, classifier.settings))
    by_name = {str(n): image for n, image in enumerate(images_NCHW)}
    return forward_rows(
        network,
        lambda ids: np.stack([by_name[name] for name in ids]),
        tuple(by_name),
        precision=classifier.precision,
    )


def mean_over(sets: Mapping[str, ProbabilitySet]) -> ProbabilitySet:
    """The mean of what several classifiers say of the same ids, by name; at least one.

    Raises UserError for ids that one of them has no row of.
    """
    first = next(iter(sets.values()))
    rows_FNC = np.stack([one.aligned_to(first.ids).probabilities_NC for one in sets.values()])
    return ProbabilitySet(
        ids=first.ids,
        probabilities_NC=rows_FNC.mean(axis=0, dtype=np.float64).astype(np.float32),
        provenance={"mean_of": {name: one.provenance for name, one in sets.items()}},
    )


def _problems(prediction: PredictionSettings, classifier: Classifier) -> Iterator[str]:
    return prediction_problems(
        prediction, classifier.settings, image_size_px=classifier.image_size_px
    )


def _require_same_images(classifier: Classifier, store: ImageStore) -> None:
    learned = (classifier.channels, classifier.image_size_px)
    if (store.channels, store.size_px) != learned:
        raise ProvenanceError(
            f"the classifier learned from {', '.join(learned[0])} at {learned[1]} px, "
            f"the images are {', '.join(store.channels)} at {store.size_px} px"
        )
