"""An auto-encoder: a backbone that learns without labels to keep what an image is made of.

Axes: N images, C stored channels, K channels seen, F features, Z latent, h x w a map.

Source of the variational one: Kingma & Welling, Auto-Encoding Variational Bayes (2014), appendix B;
here each place of the backbone's last map has Z numbers of its own. Source of the decoder: the
dual-loss ResNet34 of the 4th place of HPA 2018, six blocks of a 3 x 3 convolution with half as many
filters as the one before, ReLU, and doubling; kept small, because it is only a teacher.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from classify.networks.base import Inputs

LATENT = 64  # numbers drawn at each place
LARGEST_LOG_VARIANCE = 10.0  # its exponential stays a number, also in 16 bits
BLOCKS = 6
FIRST_FILTERS = 256  # theirs had 512, as many as the backbone's last map


class Decoder(nn.Module):
    """N x F x h x w -> N x K x H x W in 0..1.

    Six doublings are one more than a backbone of stride 32 has halvings, so the map is halved first,
    as theirs was; where it has an odd side, or the image is no multiple of 64 px, the result is
    resized to the image.
    """

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        filters = [features, *(FIRST_FILTERS // 2**block for block in range(BLOCKS))]
        self.halve = nn.MaxPool2d(2, ceil_mode=True)
        self.blocks = nn.Sequential(*(_block(wide, narrow) for wide, narrow in pairwise(filters)))
        self.paint = nn.Conv2d(filters[-1], channels, 1)

    def forward(self, map_NFhw: torch.Tensor, size_px: tuple[int, int]) -> torch.Tensor:
        drawn = self.paint(self.blocks(self.halve(map_NFhw)))
        return functional.interpolate(drawn, size_px, mode="bilinear").sigmoid()


class DrawnMap(nn.Module):
    """N x F x h x w -> N x Z x h x w, drawn while training, else its mean; and the divergence."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.to_mean = nn.Conv2d(features, LATENT, 1)
        self.to_log_variance = nn.Conv2d(features, LATENT, 1)

    def forward(self, map_NFhw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.to_mean(map_NFhw).float()
        log_variance = self.to_log_variance(map_NFhw).float()
        log_variance = log_variance.clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        divergence = kl_divergence(mean, log_variance)
        if not self.training:
            return mean, divergence
        return mean + torch.randn_like(mean) * (log_variance / 2).exp(), divergence


class AutoEncoder(nn.Module):
    """uint8 N x C x H x W -> N x K x H x W in 0..1, the mixed channels drawn again.

    bottleneck: None gives the decoder the backbone's map as it is.
    """

    def __init__(
        self, inputs: Inputs, backbone: nn.Module, bottleneck: DrawnMap | None, decoder: Decoder
    ) -> None:
        super().__init__()
        self.inputs, self.backbone = inputs, backbone
        self.bottleneck, self.decoder = bottleneck, decoder

    def forward(self, images_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the drawn images, and the divergence where there is a bottleneck."""
        map_NFhw, divergence = self.backbone(self.inputs(images_NCHW)), None
        if self.bottleneck is not None:
            map_NFhw, divergence = self.bottleneck(map_NFhw)
        height, width = images_NCHW.shape[2:]
        return self.decoder(map_NFhw, (height, width)), divergence

    def errors(self, images_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the mean squared error over all pixels of the mixed channels in 0..1, and the
        divergence."""
        drawn_NKHW, divergence = self(images_NCHW)
        wanted_NKHW = self.inputs.in_unit_range(images_NCHW)
        return functional.mse_loss(drawn_NKHW.float(), wanted_NKHW), divergence


def kl_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the divergence of normal distributions from the standard one, a mean over all."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2


def _block(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, filters, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)
    )
