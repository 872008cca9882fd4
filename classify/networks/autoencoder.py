"""Define an auto-encoder, which trains a backbone without labels.

Source of the variational form: Kingma & Welling, Auto-Encoding Variational Bayes (2014), appendix
B; here each position of the backbone's last map has Z numbers of its own. Source of the decoder:
the dual-loss ResNet34 of the 4th place of HPA 2018, six blocks of a 3 x 3 convolution with half as
many filters as the block before, ReLU, and upsampling by 2. The decoder is small, because it is
only used for training.

Axes: N images, C stored channels, K channels that the network sees, F features, Z latent numbers, h
x w a map.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from classify.networks.base import Inputs

LATENT = 64  # numbers drawn at each position
LARGEST_LOG_VARIANCE = 10.0  # its exponential is finite, even in 16 bits
BLOCKS = 6
FIRST_FILTERS = 256  # the source has 512, as many as the backbone's last map


class Decoder(nn.Module):
    """Reconstruct images from a map, N x F x h x w to N x K x H x W in 0..1.

    The six blocks double the size once more than a backbone of stride 32 halves it, so the map is
    halved first, as in the source. If the map has an odd side, or the side of the image is not a
    multiple of 64 px, the result is resized to the image.

    Args:
        features: Number of features of the map.
        channels: Number of channels of the images.
    """

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        filters = [features, *(FIRST_FILTERS // 2**block for block in range(BLOCKS))]
        self.halve = nn.MaxPool2d(2, ceil_mode=True)
        self.blocks = nn.Sequential(*(_block(wide, narrow) for wide, narrow in pairwise(filters)))
        self.paint = nn.Conv2d(filters[-1], channels, 1)

    def forward(self, map_NFhw: torch.Tensor, size_px: tuple[int, int]) -> torch.Tensor:
        """Return images of the given height and width."""
        drawn = self.paint(self.blocks(self.halve(map_NFhw)))
        return functional.interpolate(drawn, size_px, mode="bilinear").sigmoid()


class DrawnMap(nn.Module):
    """Map N x F x h x w to a latent map N x Z x h x w and its divergence.

    The latent map is drawn at random in training; otherwise it is the mean.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.to_mean = nn.Conv2d(features, LATENT, 1)
        self.to_log_variance = nn.Conv2d(features, LATENT, 1)

    def forward(self, map_NFhw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the latent map and its divergence from the standard normal distribution."""
        mean = self.to_mean(map_NFhw).float()
        log_variance = self.to_log_variance(map_NFhw).float()
        log_variance = log_variance.clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        divergence = kl_divergence(mean, log_variance)
        if not self.training:
            return mean, divergence
        return mean + torch.randn_like(mean) * (log_variance / 2).exp(), divergence


class AutoEncoder(nn.Module):
    """Map uint8 images N x C x H x W to their mixed channels N x K x H x W in 0..1.

    Args:
        inputs: Module that mixes and normalises channels.
        backbone: The backbone to train.
        bottleneck: Module that draws a latent map; None passes the backbone's map to the decoder.
        decoder: The decoder.
    """

    def __init__(
        self, inputs: Inputs, backbone: nn.Module, bottleneck: DrawnMap | None, decoder: Decoder
    ) -> None:
        super().__init__()
        self.inputs, self.backbone = inputs, backbone
        self.bottleneck, self.decoder = bottleneck, decoder

    def forward(self, images_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the reconstructed images and, with a bottleneck, the divergence."""
        map_NFhw, divergence = self.backbone(self.inputs(images_NCHW)), None
        if self.bottleneck is not None:
            map_NFhw, divergence = self.bottleneck(map_NFhw)
        height, width = images_NCHW.shape[2:]
        return self.decoder(map_NFhw, (height, width)), divergence

    def errors(self, images_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the mean squared error over all pixels of the mixed channels, and the divergence.

        Pixels are in 0..1. Without a bottleneck, the divergence is None.
        """
        drawn_NKHW, divergence = self(images_NCHW)
        wanted_NKHW = self.inputs.in_unit_range(images_NCHW)
        return functional.mse_loss(drawn_NKHW.float(), wanted_NKHW), divergence


def kl_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence of normal distributions from the standard normal distribution."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2


def _block(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, filters, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)
    )
