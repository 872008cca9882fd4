"""Probabilities of stored images. Axes: N images, C classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from atlas.artifacts import ProbabilitySet
from atlas.errors import ProvenanceError
from atlas.store import ImageStore
from classify.classifier import Classifier
from classify.kept import kept_rows


def predict(
    classifier: Classifier, store: ImageStore, ids: Sequence[str], *, folder: Path
) -> ProbabilitySet:
    """Probabilities of the images, in the order of ids; kept below `folder`, row by row.

    Raises ProvenanceError where the store's channels or size are not the classifier's.
    """
    _require_same_images(classifier, store)
    network = nn.Sequential(classifier.network, nn.Sigmoid())
    rows_NC = np.empty((0, len(classifier.labels)), np.float32)
    if ids:
        rows_NC = kept_rows(
            classifier, network, store, ids, folder=folder, description="predicting"
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
        },
    )


def _require_same_images(classifier: Classifier, store: ImageStore) -> None:
    learned = (classifier.channels, classifier.image_size_px)
    if (store.channels, store.size_px) != learned:
        raise ProvenanceError(
            f"the classifier learned from {', '.join(learned[0])} at {learned[1]} px, "
            f"the images are {', '.join(store.channels)} at {store.size_px} px"
        )
