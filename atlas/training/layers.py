"""Layers that all kinds of networks share: normalisation, pooling, heads, and views of images.

Axes: N images, C channels, K mixtures of channels, H x W pixels, P pixels in a row, F features,
h x w the feature map.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from atlas.core.files import content_hash
from atlas.dataset.store import ImageStore

MOST_IMAGES = 1000
IMAGES_PER_READ = 100
LEAST_STD = 1.0  # gray levels; a smaller divisor would amplify the noise of constant channels
LEAST_RANGE = 1.0  # gray levels; those of images are whole numbers, so this changes no other range


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """The mean and standard deviation of each channel over all pixels, in gray levels 0 to 255."""

    mean_C: tuple[float, ...]
    std_C: tuple[float, ...]


def measure_channels(
    store: ImageStore, ids: Sequence[str], *, weights_KC: Sequence[Sequence[float]] | None = None
) -> ChannelStatistics:
    """Measure the mean and standard deviation of each channel.

    At most 1,000 images are read, chosen by the hash of their ids. Sums are sums of whole numbers,
    so the order of reading does not change the result.

    Args:
        store: The image store.
        ids: The ids of labelled images.
        weights_KC: Weights of mixtures of the channels, which are measured instead of the channels.
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


class Normalise(nn.Module):
    """Scale each channel to mean 0 and standard deviation 1 by fixed statistics.

    The input is uint8 or float N x C x H x W in 0 to 255, and the output is float.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, statistics: ChannelStatistics) -> None:
        super().__init__()
        for name, values in (("mean", statistics.mean_C), ("std", statistics.std_C)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the normalised images."""
        return (images_NCHW.to(self.mean.dtype) - self.mean) / self.std


class NormaliseEach(nn.Module):
    """Scale each channel of each image to mean 0 and standard deviation 1 by its own statistics.

    The result does not depend on the exposure, and nothing has to be measured before. Use it for
    networks that were not trained with different exposures.
    """

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the normalised images."""
        images = images_NCHW.float()
        std, mean = torch.std_mean(images, (2, 3), correction=0, keepdim=True)
        return (images - mean) / (std + LEAST_STD)


class MinMaxEach(nn.Module):
    """Scale each channel of each image to 0..1 by its own minimum and maximum, in gray levels.

    A constant channel becomes 0.
    """

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the scaled images."""
        images = images_NCHW.float()
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        return (images - low) / (high - low).clamp(min=LEAST_RANGE)


class MixChannels(nn.Module):
    """Mix channels: each output channel is a weighted sum of the input channels.

    The input is uint8 or float N x C x H x W, and the output is float32 N x K x H x W. The weights
    are saved with the weights of the network.
    """

    weights: torch.Tensor

    def __init__(self, weights_KC: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights_KC, dtype=torch.float32))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the mixed channels."""
        # Half gray levels are exact in 32 bits, but not in the 16 bits of mixed precision.
        with torch.autocast(images_NCHW.device.type, enabled=False):
            return functional.conv2d(images_NCHW.float(), self.weights.float()[:, :, None, None])


class AvgMaxPool(nn.Module):
    """Concatenate the average and the maximum of each feature: N x F x h x w -> N x 2F."""

    def forward(self, features_NFhw: torch.Tensor) -> torch.Tensor:
        """Return the pooled features."""
        return torch.cat([features_NFhw.mean((2, 3)), features_NFhw.amax((2, 3))], dim=1)


def winner_head(
    in_features: int,
    hidden: int,
    out_features: int,
    *,
    dropouts: tuple[float, float],
    last_batchnorm: bool,
) -> nn.Sequential:
    """Return the head of the HPA 2018 winner: N x in_features -> N x out_features.

    The layers are BatchNorm, dropout, Linear, ReLU, BatchNorm, dropout and Linear. The metric model
    adds another BatchNorm at the end, the classifier does not.
    """
    layers: list[nn.Module] = [
        nn.BatchNorm1d(in_features),
        nn.Dropout(dropouts[0]),
        nn.Linear(in_features, hidden),
        nn.ReLU(),
        nn.BatchNorm1d(hidden),
        nn.Dropout(dropouts[1]),
        nn.Linear(hidden, out_features),
    ]
    if last_batchnorm:
        layers.append(nn.BatchNorm1d(out_features))
    return nn.Sequential(*layers)


def in_float32(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Run a module in float32, also behind a backbone in bfloat16.

    The layers behind the backbone take little time, and cosines, thresholds and ranks are computed
    from their output.
    """
    with torch.autocast(inputs.device.type, enabled=False):
        outputs: torch.Tensor = module(inputs.float())
    return outputs


def rotated_view(images_NCHW: torch.Tensor, view: int) -> torch.Tensor:
    """Return one of the eight flips and rotations of square images.

    Args:
        images_NCHW: The images.
        view: `view % 4` is the number of quarter rotations. Views from 4 on are also mirrored.
    """
    quarter = torch.rot90(images_NCHW, view % 4, (2, 3))
    return quarter.flip(3) if view >= 4 else quarter


def crops_of(images_NCHW: torch.Tensor, crops: int, side_px: int) -> Iterator[torch.Tensor]:
    """Yield square crops of square images one after the other, as views of the same memory.

    Args:
        images_NCHW: The images.
        crops: The number of crops. 1 crop is in the middle, 4 and 9 crops form a grid from edge to
            edge, and 5 crops are the four corners and the middle.
        side_px: The side of a crop.
    """
    room_px = images_NCHW.shape[3] - side_px
    if room_px < 0:
        raise ValueError(f"cannot crop {side_px} px from images of {images_NCHW.shape[3]} px")
    for top, left in _corners(crops, room_px):
        yield images_NCHW[:, :, top : top + side_px, left : left + side_px]


def _corners(crops: int, room_px: int) -> list[tuple[int, int]]:
    middle = room_px // 2
    if crops == 1:
        return [(middle, middle)]
    if crops == 5:
        return [*_corners(4, room_px), (middle, middle)]
    starts = {4: (0, room_px), 9: (0, middle, room_px)}[crops]
    return list(product(starts, starts))
