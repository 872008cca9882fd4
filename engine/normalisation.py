"""Channel statistics of an atlas, measured once.

Axes: N images, C channels, K mixtures of them, H x W pixels, P pixels in a row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

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


class MixChannels(nn.Module):
    """uint8 or float N x C x H x W -> float32 N x K x H x W, each a weighted sum of the channels.

    weights_KC: kept with the network's weights.
    """

    weights: torch.Tensor

    def __init__(self, weights_KC: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights_KC, dtype=torch.float32))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        # Halves of gray levels are exact in 32 bits; in the 16 of mixed precision they are not.
        with torch.autocast(images_NCHW.device.type, enabled=False):
            return functional.conv2d(images_NCHW.float(), self.weights.float()[:, :, None, None])


def measure_channels(
    store: ImageStore, ids: Sequence[str], *, weights_KC: Sequence[Sequence[float]] | None = None
) -> ChannelStatistics:
    """Over at most 1,000 of the images, chosen by the hash of their ids; give labelled ones.

    weights_KC: measures these mixtures of the channels; None the channels themselves.
    Sums are of whole numbers, so the order of reading cannot change the result.
    """
    chosen = sorted(ids, key=content_hash)[:MOST_IMAGES]
    count = len(store.channels)
    total_C, products_CC = np.zeros(count), np.zeros((count, count))
    for start in range(0, len(chosen), IMAGES_PER_READ):
        for image_CHW in store.read(chosen[start : start + IMAGES_PER_READ]):
            values_CP = image_CHW.reshape(count, -1).astype(np.float64)
            total_C += values_CP.sum(1)
            products_CC += values_CP @ values_CP.T
    pixels = len(chosen) * store.size_px**2
    mix_KC = np.eye(count) if weights_KC is None else np.array(weights_KC, np.float64)
    mean_K = mix_KC @ total_C / pixels
    variance_K = ((mix_KC @ products_CC) * mix_KC).sum(1) / pixels - mean_K**2
    return ChannelStatistics(
        mean_C=tuple(float(m) for m in mean_K),
        std_C=tuple(max(LEAST_STD, math.sqrt(max(0.0, v))) for v in variance_K),
    )
