"""Learn a whitening on the images of an atlas.

Whitening reduces the weight of directions that all images share, such as stain and cell type, so
that they no longer hide the directions that distinguish images.

Axes: N images, F features, D dimensions.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import nn
from torch.nn import functional

from atlas.core.files import content_hash, json_text
from atlas.dataset.artifacts import EmbeddingSet
from atlas.training.weights import weights_hash

MOST_DIMENSIONS, FEWEST_DIMENSIONS = 256, 16
IMAGES_PER_DIMENSION = 4  # with fewer, weak directions are noise, which whitening would amplify


def whitening_of(features_NF: NDArray[np.float32], dimension: int | None = None) -> nn.Linear:
    """Return a linear map F -> D after which the strongest directions have equal variance.

    This is PCA whitening (Jegou & Chum 2012). If there are too few images to estimate the
    directions, the features stay as they are.

    Args:
        features_NF: The features of the images.
        dimension: The number of directions; by default as many as the images can show.
    """
    dimension = _dimension(features_NF) if dimension is None else dimension
    if dimension < FEWEST_DIMENSIONS:
        return _unchanged(features_NF)
    from sklearn.decomposition import PCA  # takes a second to load, and trained embedders need none

    pca = PCA(dimension, svd_solver="full").fit(features_NF.astype(np.float64))
    deviation_D = np.sqrt(np.maximum(pca.explained_variance_, np.finfo(np.float32).tiny))
    return _centred(pca.components_ / deviation_D[:, None], pca.mean_)


def class_whitening_of(features_NF: NDArray[np.float32], classes: Sequence[Hashable]) -> nn.Linear:
    """Return a linear map F -> D after which the images of a class vary equally in all directions.

    The scatter within classes is whitened, then PCA keeps the directions in which all images vary
    most. The scatter is pooled over classes and shrunk (Ledoit & Wolf 2004), because each class has
    few images. Classes with a single image are ignored. If there are too few images, the features
    stay as they are.

    Source: learned whitening, Mikolajczyk & Matas 2007 and Radenovic et al. 2018.
    """
    # Takes a second to load, and trained embedders need none.
    from sklearn.covariance import ledoit_wolf
    from sklearn.decomposition import PCA

    counts = Counter(classes)
    number = {name: n for n, (name, count) in enumerate(counts.items()) if count > 1}
    repeated = [n for n, name in enumerate(classes) if name in number]
    kept_NF = features_NF[repeated].astype(np.float64)
    dimension = _dimension(kept_NF)
    if dimension < FEWEST_DIMENSIONS:
        return _unchanged(features_NF)
    class_N = np.array([number[classes[n]] for n in repeated])
    class_mean_NF = pd.DataFrame(kept_NF).groupby(class_N).transform("mean")
    within_FF, _ = ledoit_wolf(kept_NF - class_mean_NF.to_numpy(), assume_centered=True)
    variance_F, direction_FF = eigh(within_FF)
    floor = max(variance_F[-1] * np.finfo(np.float32).eps, np.finfo(np.float32).tiny)
    whitener_FF = direction_FF / np.sqrt(np.maximum(variance_F, floor))
    pca = PCA(dimension, svd_solver="full").fit(kept_NF @ whitener_FF)
    return _centred(pca.components_ @ whitener_FF.T, kept_NF.mean(0))


def whiten(fitted: nn.Linear, embeddings: EmbeddingSet) -> EmbeddingSet:
    """Return whitened embeddings, scaled to unit length again.

    They have a fingerprint of their own, so they can only be compared with embeddings of the same
    embedder and the same whitening.
    """
    with torch.inference_mode():
        rows_ND = functional.normalize(fitted(torch.from_numpy(embeddings.vectors_ND)), dim=1)
    whitening = weights_hash(fitted)
    return EmbeddingSet(
        ids=embeddings.ids,
        vectors_ND=rows_ND.numpy(),
        provenance={
            "embedder": content_hash(whitening, json_text(embeddings.provenance)),
            "whitening": whitening,
            "whitened": embeddings.provenance,
        },
    )


def _dimension(features_NF: NDArray[np.floating]) -> int:
    images, features = len(features_NF), int(features_NF.shape[1])
    return min(MOST_DIMENSIONS, features, images // IMAGES_PER_DIMENSION)


def _unchanged(features_NF: NDArray[np.floating]) -> nn.Linear:
    features = features_NF.shape[1]
    return _centred(np.eye(features), np.zeros(features))


def _centred(weight_DF: NDArray[np.float64], mean_F: NDArray[np.float64]) -> nn.Linear:
    """Return the linear map that subtracts the mean and applies the weight."""
    linear = nn.Linear(weight_DF.shape[1], weight_DF.shape[0])
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight_DF))
        linear.bias.copy_(torch.from_numpy(-weight_DF @ mean_F))
    return linear
