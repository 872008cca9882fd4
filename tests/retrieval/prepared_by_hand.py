"""Naive references: images prepared channel by channel, and views averaged one by one."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

Array = np.ndarray


def prepared(
    image_CHW: Array,
    channels: Sequence[str],
    *,
    inputs: Sequence[str],
    scale: Callable[[Array], Array],
    mean: Sequence[float],
    deviation: Sequence[float],
    size_px: int,
) -> Array:
    """Return an image for a network: choose channels, scale, normalise, resize."""
    planes = []
    for name, minus, by in zip(inputs, mean, deviation, strict=True):
        plane = np.zeros(image_CHW.shape[1:])
        if name:
            plane = image_CHW[channels.index(name)].astype(np.float64)
        plane = (scale(plane) - minus) / by
        resized = Image.fromarray(plane.astype(np.float32)).resize(
            (size_px, size_px), Image.Resampling.BILINEAR
        )
        planes.append(np.asarray(resized))
    return np.stack(planes)


def min_max(plane: Array) -> Array:
    low, high = plane.min(), plane.max()
    return (plane - low) / (high - low) if high > low else np.zeros_like(plane)


def standard(plane: Array) -> Array:
    return (plane - plane.mean()) / (plane.std() + 1)  # as NormaliseEach, which adds a gray level


SCALES: dict[str, Callable[[Array], Array]] = {
    "unit": lambda plane: plane / 255,
    "counts": lambda plane: plane,
    "min_max": min_max,
    "standard": standard,
}


def views_of(image_CHW: Array, count: int) -> list[Array]:
    """Return the image itself, or all of its flips and rotations."""
    if count == 1:
        return [image_CHW]
    flipped = [image_CHW, image_CHW[:, :, ::-1]]
    return [np.rot90(each, turns, (1, 2)).copy() for each in flipped for turns in range(4)]


def unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def embedding(
    network: nn.Module, image_CHW: Array, prepare: Callable[[Array], Array], views: int
) -> Array:
    """Return the embedding of an image, without whitening."""
    vectors = []
    for view in views_of(image_CHW, views):
        with torch.inference_mode():
            given = torch.from_numpy(prepare(view).astype(np.float32))[None]
            vectors.append(unit(network.eval()(given)[0].double().numpy()))
    return unit(np.mean(vectors, axis=0))


def whitened(vectors_ND: Array, dimension: int) -> Array:
    """Return vectors after PCA whitening, by the eigenvectors of their covariance."""
    centred = vectors_ND - vectors_ND.mean(0)
    variances, directions = np.linalg.eigh(np.cov(centred.T))
    strongest = np.argsort(variances)[::-1][:dimension]
    rows = centred @ directions[:, strongest] / np.sqrt(variances[strongest])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
