"""Probabilities of stored images. Axes: N images, C classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from atlas.artifacts import ProbabilitySet
from atlas.errors import ProvenanceError
from atlas.store import ImageStore
from classify.classifier import Classifier
from engine.inference import forward_rows


def predict(classifier: Classifier, store: ImageStore, ids: Sequence[str]) -> ProbabilitySet:
    """Probabilities of the images, in the order of ids; the store is read batch by batch.

    Raises ProvenanceError where the store's channels or size are not the classifier's.
    """
    _require_same_images(classifier, store)
    with tqdm(total=len(ids), desc="predicting", unit="img", disable=not ids) as bar:

        def read(batch: Sequence[str]) -> NDArray[np.uint8]:
            bar.update(len(batch))
            return store.read(batch)

        rows_NC = forward_rows(nn.Sequential(classifier.network, nn.Sigmoid()), read, ids)
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
