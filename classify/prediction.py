"""Probabilities of stored images. Axes: N images, C classes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from atlas.core.errors import ProvenanceError, UserError
from atlas.core.files import content_hash, json_text
from atlas.core.row_cache import fill_rows
from atlas.dataset.artifacts import EmbeddingSet, ProbabilitySet
from atlas.dataset.store import ImageStore
from atlas.inference.torch_runner import forward_rows
from atlas.training.layers import crops_of, turned_view
from classify.classifier import Classifier
from classify.networks.base import ClassifierNetwork
from classify.settings import PredictionSettings, as_trained, prediction_problems

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


# What a classifier's network gives for stored images, kept row by row. Axis N: images.


def kept_rows(
    classifier: Classifier,
    network: nn.Module,
    store: ImageStore,
    ids: Sequence[str],
    *,
    folder: Path,
    made_by: dict[str, Any],
    description: str,
) -> NDArray[np.float32]:
    """Outputs of `network`, made of the classifier's layers, N x ...

    Kept below `folder`, so that a killed run goes on and images that did not change cost nothing.
    made_by: what the rows follow from beside weights, precision and images; rows of another are
    kept apart.
    """
    precision = classifier.precision
    made_by = {"classifier": classifier.weights_hash, "precision": precision, **made_by}
    parts = fill_rows(
        folder / content_hash(json_text(made_by)),
        ids,
        lambda part_ids: forward_rows(network, store.read, part_ids, precision=precision),
        provenance=made_by,
        description=description,
        keys=store.keys(ids),
    )
    return np.asarray(parts.read(ids), np.float32)


# A classifier over several views of each image. Axes: V views, N images, C channels, L labels.


class OverViews(nn.Module):
    """uint8 N x C x H x W -> probabilities N x L, of all crops in all flips and turns.

    network: gives logits. One view of the batch passes it at a time, so memory is that of one.
    """

    def __init__(self, network: nn.Module, prediction: PredictionSettings) -> None:
        super().__init__()
        self.network, self.prediction = network, prediction

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        side_px = self.prediction.view_px or images_NCHW.shape[3]
        probabilities_VNL = torch.stack(
            [
                self.network(_laid_out(turned_view(crop, view))).float().sigmoid()
                for crop in crops_of(images_NCHW, self.prediction.crops, side_px)
                for view in range(self.prediction.views)
            ]
        )
        return combined(probabilities_VNL, self.prediction.combine)


def combined(probabilities_VNL: torch.Tensor, combine: str) -> torch.Tensor:
    """N x L; combine: as `PredictionSettings` has it. A median of an even number of views is the
    mean of the two in the middle."""
    if combine == "mean":
        return probabilities_VNL.mean(0)
    if combine == "max":
        return probabilities_VNL.amax(0)
    return torch.quantile(probabilities_VNL, 0.5, dim=0)


def _laid_out(images_NCHW: torch.Tensor) -> torch.Tensor:
    """As whole images lie: a turned one has its rows where columns were."""
    return images_NCHW.contiguous(memory_format=torch.channels_last)


# What a classifier's last layer sees, as vectors of images. Axes: N images, D features.


class Features(nn.Module):
    """uint8 N x C x H x W -> the input of the last Linear layer, N x D of unit length.

    It shares the classifier's layers. crop_px: side of the middle that is looked at; None takes
    whole images.
    """

    def __init__(self, network: ClassifierNetwork, *, crop_px: int | None = None) -> None:
        super().__init__()
        self.network, self.crop_px = network, crop_px

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        (seen,) = crops_of(images_NCHW, 1, self.crop_px or images_NCHW.shape[3])
        return functional.normalize(self.network.last_layer_input(seen), dim=1)


def embed_store(
    classifier: Classifier, store: ImageStore, ids: Sequence[str], *, folder: Path
) -> EmbeddingSet:
    """Features of stored images; kept below `folder`, where a killed run goes on.

    store: of the classifier's channels, at its image size.
    """
    crop_px = classifier.settings.training.crop_px
    vectors_ND = kept_rows(
        classifier, Features(classifier.network, crop_px=crop_px), store, ids,
        folder=folder, made_by={"gives": "features"}, description="embedding",
    )  # fmt: skip
    provenance = {
        "images": content_hash(*ids, *store.keys(ids)),
        "classifier": classifier.weights_hash,
    }
    return EmbeddingSet(ids=tuple(ids), vectors_ND=vectors_ND, provenance=provenance)
