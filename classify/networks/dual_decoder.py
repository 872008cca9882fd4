"""A trunk that classifies and has to keep enough to draw the image again.

Axes: N images, C stored channels, K channels seen, H x W pixels, F features, L labels, h x w a map.

Source: the dual-loss ResNet34 of HPA 2018's 4th place, in its first reading: mean squared error of
the reconstruction with weight 10 beside the classification with weight 1. Errors are of pixels in
0..1.
"""

import torch
from torch import nn
from torch.nn import functional

from classify.networks.base import ClassifierNetwork, Inputs
from classify.networks.decoder import Decoder
from classify.networks.trunk_and_head import pooled_head
from classify.settings import ClassifierSettings
from engine.heads import AvgMaxPool
from engine.trunks import Trunk


class DualDecoder(ClassifierNetwork):
    """Adds a decoder of the last map, which nothing but the second loss uses."""

    def __init__(
        self,
        inputs: Inputs,
        trunk: nn.Module,
        pool: nn.Module,
        head: nn.Sequential,
        decoder: Decoder,
    ) -> None:
        super().__init__(inputs, trunk, pool, head)
        self.decoder = decoder

    def auxiliary_loss(
        self, maps: list[torch.Tensor], images_NCHW: torch.Tensor, targets_NL: torch.Tensor
    ) -> torch.Tensor:
        """Mean squared error of the reconstruction of the mixed channels, over all pixels."""
        wanted_NKHW = self.inputs.in_unit_range(images_NCHW)
        height, width = images_NCHW.shape[2:]
        drawn_NKHW = self.decoder(maps[-1], (height, width))
        return functional.mse_loss(drawn_NKHW.float(), wanted_NKHW)


def dual_decoder(
    inputs: Inputs, trunk: Trunk, settings: ClassifierSettings, *, labels: int
) -> ClassifierNetwork:
    return DualDecoder(
        inputs,
        trunk.module,
        AvgMaxPool(),
        pooled_head(trunk, settings, labels=labels),
        Decoder(trunk.features, inputs.seen),
    )
