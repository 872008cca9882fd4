"""What all networks of a classifier have in common, and the plain one: a backbone with a head.

Axes: N images, C stored channels, K channels seen, H x W pixels, F features, L labels, h x w a map.
"""

from typing import Any

import torch
from torch import nn

from atlas.core.errors import UserError
from atlas.training.backbones import Backbone
from atlas.training.layers import (
    AvgMaxPool,
    ChannelStatistics,
    MixChannels,
    Normalise,
    in_float32,
    winner_head,
)
from classify.channels import Mixing
from classify.settings import ClassifierSettings


class Inputs(nn.Module):
    """uint8 N x C x H x W -> float N x K x H x W: mixed, then with mean 0 and deviation 1.

    statistics: of the K mixed channels. stored: names of the C channels.
    """

    def __init__(self, mixing: Mixing, statistics: ChannelStatistics) -> None:
        super().__init__()
        self.stored, self.seen = mixing.stored, mixing.seen
        self.mix = nn.Identity() if mixing.changes_nothing else MixChannels(mixing.weights_KC)
        self.normalise = Normalise(statistics)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        normal: torch.Tensor = self.normalise(self.mix(images_NCHW))
        return normal

    def in_unit_range(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the mixed channels in 0..1, which a decoder has to reproduce."""
        mixed: torch.Tensor = self.mix(images_NCHW)
        return mixed.float() / 255


class ClassifierNetwork(nn.Module):
    """uint8 N x C x H x W -> logits N x L, by maps, their pooled features and a head.

    This one pools the last map of a backbone; others take more maps, pool differently, or have a
    second loss. The last layer of a head is Linear.
    """

    def __init__(
        self, inputs: Inputs, backbone: nn.Module, pool: nn.Module, head: nn.Sequential
    ) -> None:
        super().__init__()
        self.inputs, self.backbone, self.pool, self.head = inputs, backbone, pool, head

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return self.classify(self.maps(images_NCHW))

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        """Return maps, N x F x h x w each, the deepest last."""
        return [self.backbone(self.inputs(images_NCHW))]

    def pooled(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return one vector per image, N x F."""
        pooled_NF: torch.Tensor = self.pool(maps[-1])
        return pooled_NF

    def classify(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return self._through(self.head, maps)

    def last_layer_input(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return what the head makes of each image before its last layer, N x D."""
        return self._through(self.head[:-1], self.maps(images_NCHW))

    def stages(self) -> list[nn.Module]:
        """Return the layers that give the maps of the backbone's stages, the deepest last."""
        return stage_layers(self.backbone)

    def auxiliary_loss(
        self, maps: list[torch.Tensor], images_NCHW: torch.Tensor, targets_NL: torch.Tensor
    ) -> torch.Tensor | None:
        """Return the network's own second loss, a scalar, for training alone; None without one."""
        return None

    def _through(self, layers: nn.Module, maps: list[torch.Tensor]) -> torch.Tensor:
        # In bfloat16 many images would have the same probability, and no order among them.
        pooled_NF = self.pooled(maps)
        outputs: torch.Tensor = (
            layers(pooled_NF) if self.training else in_float32(layers, pooled_NF)
        )
        return outputs


class BackboneAndHead(ClassifierNetwork):
    """Any timm backbone with the head of the HPA 2018 winner.

    Average and maximum of the last map side by side, then `dense_head`.
    """

    def __init__(
        self, inputs: Inputs, backbone: Backbone, settings: ClassifierSettings, *, labels: int
    ) -> None:
        head = dense_head(2 * backbone.features, settings, labels=labels)
        super().__init__(inputs, backbone.module, AvgMaxPool(), head)


def dense_head(features: int, settings: ClassifierSettings, *, labels: int) -> nn.Sequential:
    """N x F -> N x L: BatchNorm, dropout, Linear, ReLU, BatchNorm, dropout, Linear."""
    return winner_head(
        features, settings.hidden, labels, dropouts=settings.dropouts, last_batchnorm=False
    )


def stage_maps(backbone: nn.Module, images_NKHW: torch.Tensor) -> list[torch.Tensor]:
    """Return the map of every stage of a timm backbone, the deepest last."""
    network: Any = backbone
    maps: list[torch.Tensor] = network.forward_intermediates(images_NKHW, intermediates_only=True)
    return maps


def stage_features(backbone: nn.Module, name: str) -> list[int]:
    """Return F of every stage.

    Raises UserError for a backbone that does not show its stages, or that has layers behind the last.
    """
    network: Any = backbone
    if not hasattr(network, "forward_intermediates"):
        raise UserError(f"backbone {name!r} does not show its stages; take a ResNet")
    widths = [int(stage["num_chs"]) for stage in network.feature_info]
    if widths[-1] != network.num_features:
        raise UserError(f"backbone {name!r} continues behind its last stage; take a ResNet")
    return widths


def stage_strides(backbone: nn.Module) -> list[int]:
    """Return how many pixels of the image lie between two places of each stage's map."""
    network: Any = backbone
    return [int(stage["reduction"]) for stage in network.feature_info]


def stage_layers(backbone: nn.Module) -> list[nn.Module]:
    """Return the layer behind every stage's map, the deepest last.

    The backbone itself is the last one where it has layers behind its last stage, or does not name
    the layers of its stages.
    """
    network: Any = backbone
    layers = dict(backbone.named_modules())
    stages = list(getattr(network, "feature_info", []))
    found = [layers[stage["module"]] for stage in stages if stage["module"] in layers]
    if not found or stages[-1]["num_chs"] != network.num_features:
        found.append(backbone)
    return found
