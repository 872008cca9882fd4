"""Compute what a classifier gives for stored images: probabilities over views, and features.

Features are the inputs of the last layer; they serve as vectors of images.

Axes: V views, N images, C channels, L labels, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from atlas.core.errors import ProvenanceError, UserError
from atlas.core.files import content_hash, json_text
from atlas.core.row_cache import fill_rows
from atlas.core.row_work import RowMaker
from atlas.dataset.artifacts import EmbeddingSet, ProbabilitySet, common_keys
from atlas.dataset.store import ImageStore
from atlas.inference.settings import Precision
from atlas.inference.torch_runner import forward_rows
from atlas.training.layers import crops_of, rotated_view
from classify.classifier import Classifier, load_classifier, save_classifier
from classify.networks.base import ClassifierNetwork
from classify.settings import PredictionSettings, as_trained, prediction_problems

CLASSIFIERS_FOLDER = "classifiers"  # of workers, beside their predictions
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
    rows_NL = np.empty((0, len(classifier.labels)), np.float32)
    if ids:
        rows_NL = _kept_rows(
            classifier, prediction, store, ids, folder=folder,
            made_by={"gives": "probabilities", **asdict(prediction)}, description="predicting",
        )  # fmt: skip
    return ProbabilitySet(
        ids=tuple(ids),
        probabilities_NC=rows_NL,
        provenance={
            "backbone": settings.backbone,
            "weights_hash": classifier.weights_hash,
            "images_hash": store.content_hash,
            "image_size_px": store.size_px,
            "labels": classifier.labels,
            "prediction": asdict(prediction),
            "precision": classifier.precision,
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

    The images have the classifier's channels and size.
    """
    network = OverViews(classifier.network, as_trained(PLAIN, classifier.settings))
    names = tuple(map(str, range(len(images_NCHW))))

    def read(some: Sequence[str]) -> NDArray[np.uint8]:
        return images_NCHW[[int(name) for name in some]]

    return forward_rows(network, read, names, precision=classifier.precision)


def embed_store(
    classifier: Classifier, store: ImageStore, ids: Sequence[str], *, folder: Path
) -> EmbeddingSet:
    """Return features of stored images.

    They are kept below `folder` row by row, so a run that was stopped is resumable. The stored
    images have the classifier's channels and size.
    """
    vectors_ND = _kept_rows(
        classifier, None, store, ids, folder=folder, made_by={"gives": "features"},
        description="embedding",
    )  # fmt: skip
    provenance = {
        "images": content_hash(*ids, *store.keys(ids)),
        "classifier": classifier.weights_hash,
    }
    return EmbeddingSet(ids=tuple(ids), vectors_ND=vectors_ND, provenance=provenance)


class OverViews(nn.Module):
    """Map uint8 images N x C x H x W to probabilities N x L, combined over all crops and views.

    One view of the batch passes the network at a time, to limit memory.

    Args:
        network: Network that gives logits.
        prediction: Views and crops, and how they are combined.
    """

    def __init__(self, network: nn.Module, prediction: PredictionSettings) -> None:
        super().__init__()
        self.network, self.prediction = network, prediction

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return probabilities, N x L."""
        side_px = self.prediction.view_px or images_NCHW.shape[3]
        probabilities_VNL = torch.stack(
            [
                self.network(_laid_out(rotated_view(crop, view))).float().sigmoid()
                for crop in crops_of(images_NCHW, self.prediction.crops, side_px)
                for view in range(self.prediction.views)
            ]
        )
        return combined(probabilities_VNL, self.prediction.combine)


def combined(probabilities_VNL: torch.Tensor, combine: str) -> torch.Tensor:
    """Combine the probabilities of views as `PredictionSettings` says, N x L.

    The median of an even number of views is the mean of the middle two.

    Example:
        >>> views = torch.tensor([[[0.25]], [[0.75]], [[1.0]]])
        >>> combined(views, "median").item()
        0.75
    """
    if combine == "mean":
        return probabilities_VNL.mean(0)
    if combine == "max":
        return probabilities_VNL.amax(0)
    return torch.quantile(probabilities_VNL, 0.5, dim=0)


class Features(nn.Module):
    """Map uint8 images N x C x H x W to the input of the last Linear layer, N x D of unit length.

    Args:
        network: Network of the classifier, whose layers are shared.
        crop_px: Side of the central crop; None uses whole images.
    """

    def __init__(self, network: ClassifierNetwork, *, crop_px: int | None = None) -> None:
        super().__init__()
        self.network, self.crop_px = network, crop_px

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return features of unit length, N x D."""
        (seen,) = crops_of(images_NCHW, 1, self.crop_px or images_NCHW.shape[3])
        return functional.normalize(self.network.last_layer_input(seen), dim=1)


def _kept_rows(
    classifier: Classifier,
    prediction: PredictionSettings | None,
    store: ImageStore,
    ids: Sequence[str],
    *,
    folder: Path,
    made_by: dict[str, Any],
    description: str,
) -> NDArray[np.float32]:
    """Return probabilities or features, N x ...

    Rows are kept below `folder`, so a run that was stopped is resumable and images that did not
    change cost nothing.

    Args:
        classifier: The classifier.
        prediction: The views over which probabilities are combined, or None for features.
        store: The stored images.
        ids: The images.
        folder: Folder that keeps the rows.
        made_by: What the rows depend on beside weights, precision and images; rows with another
            value are kept separately.
        description: Label of the progress bar.
    """
    precision = classifier.precision
    made_by = {"classifier": classifier.weights_hash, "precision": precision, **made_by}
    stored = fill_rows(
        folder / content_hash(json_text(made_by)),
        ids,
        _Predicting(classifier, prediction, store, folder / CLASSIFIERS_FOLDER),
        provenance=made_by,
        description=description,
        keys=store.keys(ids),
        rows_at_once=IMAGES_AT_ONCE,
    )
    return np.asarray(stored.read(ids), np.float32)


class _Predicting(RowMaker):
    """Probabilities or features; for workers of a cluster, `folder` keeps the classifier."""

    uses_gpu = True

    def __init__(
        self,
        classifier: Classifier,
        prediction: PredictionSettings | None,
        store: ImageStore,
        folder: Path,
    ) -> None:
        self._classifier, self._prediction = classifier, prediction
        self._store, self._folder = store, folder

    def __call__(self, ids: Sequence[str]) -> NDArray[np.float32]:
        network, precision = self._network, self._classifier.precision
        return forward_rows(network, self._store.read, ids, precision=precision)

    def only(self, ids: Sequence[str]) -> RowMaker:
        return _PredictingPart(
            classifier=self._kept,
            prediction=self._prediction,
            store=self._store.only(ids),
            precision=self._classifier.precision,
        )

    @cached_property
    def _network(self) -> nn.Module:
        return _network_of(self._classifier, self._prediction)

    @cached_property
    def _kept(self) -> Path:
        folder = self._folder / content_hash(self._classifier.weights_hash)
        save_classifier(folder, self._classifier)
        return folder


@dataclass(frozen=True, kw_only=True)
class _PredictingPart(RowMaker):
    """Probabilities or features of a part, which may be computed on another machine.

    Attributes:
        classifier: The folder of the classifier.
        prediction: The views over which probabilities are combined, or None for features.
        store: The images of the part.
        precision: The precision of the machine that wants the rows.
    """

    uses_gpu: ClassVar[bool] = True

    classifier: Path
    prediction: PredictionSettings | None
    store: ImageStore
    precision: Precision

    def __call__(self, ids: Sequence[str]) -> NDArray[np.float32]:
        network = _network_of(_loaded(self.classifier), self.prediction)
        return forward_rows(network, self.store.read, ids, precision=self.precision)

    def only(self, ids: Sequence[str]) -> "_PredictingPart":
        return self


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> Classifier:
    """Return a classifier, which a worker loads once for all of its parts."""
    return load_classifier(folder)


def _network_of(classifier: Classifier, prediction: PredictionSettings | None) -> nn.Module:
    """Return a network that is made of the classifier's layers."""
    if prediction is None:
        crop_px = classifier.settings.training.crop_px
        return Features(classifier.network, crop_px=crop_px)
    return OverViews(classifier.network, prediction)


def _require_same_images(classifier: Classifier, store: ImageStore) -> None:
    learned = (classifier.channels, classifier.image_size_px)
    if (store.channels, store.size_px) != learned:
        raise ProvenanceError(
            f"the classifier was trained on {', '.join(learned[0])} at {learned[1]} px, but the "
            f"images have {', '.join(store.channels)} at {store.size_px} px"
        )


def _laid_out(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Return images in the memory layout of whole images; a rotated view has another one."""
    return images_NCHW.contiguous(memory_format=torch.channels_last)
