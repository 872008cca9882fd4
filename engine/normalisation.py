"""Channel statistics of an atlas, measured once. Axes: N images, C channels, H x W pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from atlas.files import content_hash
from atlas.store import ImageStore

MOST_IMAGES = 1000
IMAGES_PER_READ = 100
LEAST_STD = 1.0  # gray levels; a constant channel must not be blown up


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel over all pixels, in gray levels 0..255."""

    mean_C: tuple[float, ...]
    std_C: tuple[float, ...]


class Normalise(nn.Module):
    """uint8 or float N x C x H x W in 0..255 -> float with mean 0 and deviation 1 per channel."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, statistics: ChannelStatistics) -> None:
        super().__init__()
        for name, values in (("mean", statistics.mean_C), ("std", statistics.std_C)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return (images_NCHW.to(self.mean.dtype) - self.mean) / self.std


class NormaliseEach(nn.Module):
    """Like `Normalise`, by each image's own statistics: blind to exposure, and nothing to measure.

    For networks that did not learn what another exposure looks like.
    """

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        images = images_NCHW.float()
        std, mean = torch.std_mean(images, (2, 3), correction=0, keepdim=True)
        return (images - mean) / (std + LEAST_STD)


def measure_channels(store: ImageStore, ids: Sequence[str]) -> ChannelStatistics:
    """Over at most 1,000 of the images, chosen by the hash of their ids; give labelled ones.

    Sums are of whole numbers, so the order of reading cannot change the result.
    """
    chosen = sorted(ids, key=content_hash)[:MOST_IMAGES]
    pixels, total_C, squares_C = 0, np.zeros(len(store.channels)), np.zeros(len(store.channels))
    for start in range(0, len(chosen), IMAGES_PER_READ):
        images = store.read(chosen[start : start + IMAGES_PER_READ])
        pixels += images.shape[0] * images.shape[2] * images.shape[3]
        total_C += images.sum((0, 2, 3), dtype=np.uint64)
        squares_C += np.square(images, dtype=np.uint16).sum((0, 2, 3), dtype=np.uint64)
    mean_C = total_C / pixels
    variance_C = squares_C / pixels - mean_C**2
    return ChannelStatistics(
        mean_C=tuple(float(m) for m in mean_C),
        std_C=tuple(max(LEAST_STD, math.sqrt(max(0.0, v))) for v in variance_C),
    )
