"""What a classifier's last layer sees, as vectors of images. Axes: N images, D features."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from atlas.artifacts import EmbeddingSet
from atlas.files import content_hash
from atlas.parts import fill_parts
from atlas.store import ImageStore
from classify.classifier import Classifier
from classify.network import ClassifierNetwork
from engine.inference import forward_rows


class UnitLength(nn.Module):
    def forward(self, features_ND: torch.Tensor) -> torch.Tensor:
        return functional.normalize(features_ND, dim=1)


def feature_network(network: ClassifierNetwork) -> nn.Module:
    """uint8 N x C x H x W -> the input of the last Linear layer, N x D of unit length.

    It shares the classifier's layers.
    """
    return nn.Sequential(
        network.normalise, network.trunk, network.pool, *network.head[:-1], UnitLength()
    )


def embed_store(
    classifier: Classifier, store: ImageStore, ids: Sequence[str], *, folder: Path
) -> EmbeddingSet:
    """Features of stored images; kept below `folder`, where a killed run goes on.

    store: of the classifier's channels, at its image size.
    """
    network = feature_network(classifier.network)
    made_by = {"classifier": classifier.weights_hash}
    keys = store.keys(ids)

    def make_rows(part_ids: Sequence[str]) -> NDArray[np.float32]:
        return forward_rows(network, store.read, part_ids)

    parts = fill_parts(
        folder / content_hash(classifier.weights_hash),
        ids,
        make_rows,
        provenance=made_by,
        description="embedding",
        keys=keys,
    )
    provenance = {"images": content_hash(*ids, *keys), **made_by}
    return EmbeddingSet(ids=tuple(ids), vectors_ND=parts.read(ids), provenance=provenance)
