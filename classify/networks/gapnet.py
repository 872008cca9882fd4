"""The GAPNet of the 4th place of HPA 2018. Axes: N images, F features, L labels, h x w a map.

A ResNet18; at each of its five stages (64, 64, 128, 256 and 512 filters, from half to 1/32 of the
image's side) a squeeze-and-excitation and then the global average; these 1,024 side by side,
BatchNorm, dropout, Linear to 256, ReLU, BatchNorm, dropout, Linear. The squeeze is to a sixteenth,
without biases, as theirs was (Hu et al., Squeeze-and-Excitation Networks, 2018). Their ResNet18
normalised before each convolution, timm's does so after it.
"""

import torch
from timm.layers.squeeze_excite import SEModule
from torch import nn

from classify.networks.base import ClassifierNetwork, Inputs
from classify.networks.stages import stage_features, stage_maps
from classify.settings import ClassifierSettings
from engine.heads import winner_head
from engine.trunks import Trunk

SQUEEZED_TO = 16  # a sixteenth


class ExcitedAverages(nn.Module):
    """Maps of several stages -> N x (the sum of their F)."""

    def __init__(self, features: list[int]) -> None:
        super().__init__()
        self.excite = nn.ModuleList(
            SEModule(count, rd_channels=max(1, count // SQUEEZED_TO), bias=False)
            for count in features
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        excited = [excite(each) for excite, each in zip(self.excite, maps, strict=True)]
        return torch.cat([each_NFhw.mean((2, 3)) for each_NFhw in excited], dim=1)


class GapNet(ClassifierNetwork):
    """Takes the maps of all stages."""

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        return stage_maps(self.trunk, self.inputs(images_NCHW))

    def pooled(self, maps: list[torch.Tensor]) -> torch.Tensor:
        pooled_NF: torch.Tensor = self.pool(maps)
        return pooled_NF


def gapnet(
    inputs: Inputs, trunk: Trunk, settings: ClassifierSettings, *, labels: int
) -> ClassifierNetwork:
    """Raises UserError for a trunk that does not show its stages."""
    features = stage_features(trunk.module, settings.trunk)
    head = winner_head(
        sum(features), settings.hidden, labels, dropouts=settings.dropouts, last_batchnorm=False
    )
    return GapNet(inputs, trunk.module, ExcitedAverages(features), head)
