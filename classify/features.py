"""What a classifier's last layer sees, as vectors of images. Axes: N images, D features."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from atlas.artifacts import EmbeddingSet
from atlas.files import content_hash
from atlas.store import ImageStore
from classify.classifier import Classifier
from classify.kept import kept_rows
from classify.networks.base import ClassifierNetwork
from engine.views import crops_of


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
