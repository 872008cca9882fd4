"""Define networks that average the maps of several stages: GapNet and GapNet-PL.

GapNet is the network of the 4th place of HPA 2018: a ResNet18 in which squeeze-and-excitation and
the global average are applied to each of the five stages (64, 64, 128, 256 and 512 filters, from
1/2 to 1/32 of the image's side). The 1,024 averages are concatenated, followed by BatchNorm,
dropout, Linear to 256, ReLU, BatchNorm, dropout and Linear. The squeeze is to a sixteenth, without
biases, as in the original (Hu et al., Squeeze-and-Excitation Networks, 2018). The original ResNet18
normalises before each convolution; that of timm normalises after it.

GapNet-PL is from Rumetshofer et al., Human-level Protein Localization with Convolutional Neural
Networks (ICLR 2019), figure 2, and the authors' configuration: 3 x 3 convolutions with SELU in
three blocks of 32, 64 and 128 filters; the average of each block's last map; two dense layers of
256 units with SELU and alpha dropout of 0.3; weights drawn with variance 1 / fan-in (LeCun), biases
0. With 4 channels and 13 labels, it has 626,221 weights.

Axes: N images, K channels that the network sees, F features, L labels, h x w a map.
"""

import math

import torch
from timm.layers.squeeze_excite import SEModule
from torch import nn

from atlas.training.backbones import Backbone
from classify.networks.base import ClassifierNetwork, Inputs, dense_head, stage_features, stage_maps
from classify.settings import ClassifierSettings

SQUEEZED_TO = 16  # to a sixteenth of the filters
BLOCKS = (32, 64, 128)


class GapNet(ClassifierNetwork):
    """Pool the maps of all stages of a backbone.

    Raises:
        UserError: The backbone does not expose its stages.
    """

    def __init__(
        self, inputs: Inputs, backbone: Backbone, settings: ClassifierSettings, *, labels: int
    ) -> None:
        features = stage_features(backbone.module, settings.backbone)
        head = dense_head(sum(features), settings, labels=labels)
        super().__init__(inputs, backbone.module, ExcitedAverages(features), head)

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps of all stages, the deepest last."""
        return stage_maps(self.backbone, self.inputs(images_NCHW))

    def pooled(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return the averages of all maps, N x (the sum of their F)."""
        pooled_NF: torch.Tensor = self.pool(maps)
        return pooled_NF


class ExcitedAverages(nn.Module):
    """Map the maps of several stages to their averages, N x (the sum of their F)."""

    def __init__(self, features: list[int]) -> None:
        super().__init__()
        self.excite = nn.ModuleList(
            SEModule(count, rd_channels=max(1, count // SQUEEZED_TO), bias=False)
            for count in features
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return the averages of the maps after squeeze-and-excitation."""
        excited = [excite(each) for excite, each in zip(self.excite, maps, strict=True)]
        return averages(excited)


class GapNetPL(ClassifierNetwork):
    """Classify by the averages of all three blocks, N x 224, and dense layers with SELU."""

    def __init__(
        self, inputs: Inputs, backbone: Backbone, settings: ClassifierSettings, *, labels: int
    ) -> None:
        first, second = settings.dropouts
        head = nn.Sequential(
            nn.Linear(backbone.features, settings.hidden),
            nn.SELU(),
            nn.AlphaDropout(first),
            nn.Linear(settings.hidden, settings.hidden),
            nn.SELU(),
            nn.AlphaDropout(second),
            nn.Linear(settings.hidden, labels),
        )
        super().__init__(inputs, backbone.module, nn.Identity(), head.apply(_draw))

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps of the three blocks, the deepest last."""
        maps: list[torch.Tensor] = self.backbone(self.inputs(images_NCHW))
        return maps

    def pooled(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return the averages of all maps, N x 224."""
        return averages(maps)

    def stages(self) -> list[nn.Module]:
        """Return the three blocks."""
        return list(self.backbone.children())


class GapNetBackbone(nn.Module):
    """Map N x K x H x W to the maps of three blocks, at 1/4, 1/16 and 1/16 of the image's side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second, third = BLOCKS
        self.block1 = nn.Sequential(*_selu_conv(channels, first, stride=2), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(
            *_selu_conv(first, second, stride=2),
            *_selu_conv(second, second),
            *_selu_conv(second, second),
            *_selu_conv(second, second),
            nn.MaxPool2d(2),
        )
        self.block3 = nn.Sequential(
            *_selu_conv(second, third), *_selu_conv(third, third), *_selu_conv(third, third)
        )

    def forward(self, images_NKHW: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps of the three blocks, the deepest last."""
        first = self.block1(images_NKHW)
        second = self.block2(first)
        return [first, second, self.block3(second)]


def gapnet_pl_backbone(channels: int, *, seed: int) -> Backbone:
    """Build the backbone of GapNet-PL with random weights, because no trained ones exist."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = GapNetBackbone(channels).apply(_draw)
    return Backbone(
        module=module, features=sum(BLOCKS), started_from=f"random weights, seed {seed}"
    )


def averages(maps: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean of each map over its positions, concatenated, N x (the sum of their F)."""
    return torch.cat([map_NFhw.mean((2, 3)) for map_NFhw in maps], dim=1)


def _selu_conv(inputs: int, filters: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, filters, 3, stride=stride, padding=1), nn.SELU()


def _draw(module: nn.Module) -> None:
    """Draw weights from LeCun's normal distribution, as SELU requires (Klambauer et al. 2017)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        fan_in = module.weight[0].numel()
        nn.init.normal_(module.weight, std=math.sqrt(1 / fan_in))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
