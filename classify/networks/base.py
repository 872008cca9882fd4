"""Define what all classifier networks have in common, and the plain one: a backbone with a head.

Axes: N images, C stored channels, K channels that the network sees, H x W pixels, F features, L
labels, h x w a map.
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
    """Map uint8 images N x C x H x W to floats N x K x H x W with mean 0 and deviation 1.

    Args:
        mixing: How the K channels are mixed from the C stored ones.
        statistics: Mean and deviation of the K mixed channels.
    """

    def __init__(self, mixing: Mixing, statistics: ChannelStatistics) -> None:
        super().__init__()
        self.stored, self.seen = mixing.stored, mixing.seen
        self.mix = nn.Identity() if mixing.changes_nothing else MixChannels(mixing.weights_KC)
        self.normalise = Normalise(statistics)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return mixed and normalised images, N x K x H x W."""
        normal: torch.Tensor = self.normalise(self.mix(images_NCHW))
        return normal

    def in_unit_range(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the mixed channels in 0..1, which a decoder has to reconstruct."""
        mixed: torch.Tensor = self.mix(images_NCHW)
        return mixed.float() / 255


class ClassifierNetwork(nn.Module):
    """Map uint8 images N x C x H x W to logits N x L, by maps, pooling and a head.

    This class pools the last map of a backbone. Subclasses use more maps, pool differently, or have
    a second loss. The last layer of the head is Linear.

    Args:
        inputs: Module that mixes and normalises channels.
        backbone: Module that gives maps.
        pool: Module that pools a map to a vector.
        head: Layers that map vectors to logits.
    """

    def __init__(
        self, inputs: Inputs, backbone: nn.Module, pool: nn.Module, head: nn.Sequential
    ) -> None:
        super().__init__()
        self.inputs, self.backbone, self.pool, self.head = inputs, backbone, pool, head

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits, N x L."""
        return self.classify(self.maps(images_NCHW))

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        """Return maps, N x F x h x w each, the deepest last."""
        return [self.backbone(self.inputs(images_NCHW))]

    def pooled(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return one vector for each image, N x F."""
        pooled_NF: torch.Tensor = self.pool(maps[-1])
        return pooled_NF

    def classify(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return the logits of maps, N x L."""
        return self.logits(self.pooled(maps))

    def logits(self, pooled_NF: torch.Tensor) -> torch.Tensor:
        """Return the logits of pooled maps, N x L."""
        return self._through(self.head, pooled_NF)

    def last_layer_input(self, pooled_NF: torch.Tensor) -> torch.Tensor:
        """Return the input of the last layer of the head, N x D."""
        return self._through(self.head[:-1], pooled_NF)

    def stages(self) -> list[nn.Module]:
        """Return the layers that give the maps of the backbone's stages, the deepest last."""
        return stage_layers(self.backbone)

    def auxiliary_loss(
        self, maps: list[torch.Tensor], images_NCHW: torch.Tensor, targets_NL: torch.Tensor
    ) -> torch.Tensor | None:
        """Return the second loss of the network for training, a scalar, or None if it has none."""
        return None

    def _through(self, layers: nn.Module, pooled_NF: torch.Tensor) -> torch.Tensor:
        # In bfloat16 many images would have equal probabilities and could not be ranked.
        outputs: torch.Tensor = (
            layers(pooled_NF) if self.training else in_float32(layers, pooled_NF)
        )
        return outputs


class BackboneAndHead(ClassifierNetwork):
    """Add the head of the HPA 2018 winner to any timm backbone.

    The average and the maximum of the last map are concatenated and passed to `dense_head`.
    """

    def __init__(
        self, inputs: Inputs, backbone: Backbone, settings: ClassifierSettings, *, labels: int
    ) -> None:
        head = dense_head(2 * backbone.features, settings, labels=labels)
        super().__init__(inputs, backbone.module, AvgMaxPool(), head)


def dense_head(features: int, settings: ClassifierSettings, *, labels: int) -> nn.Sequential:
    """Build the layers N x F -> N x L of the HPA 2018 winner.

    They are BatchNorm, dropout, Linear, ReLU, BatchNorm, dropout and Linear.
    """
    return winner_head(
        features, settings.hidden, labels, dropouts=settings.dropouts, last_batchnorm=False
    )


def stage_maps(backbone: nn.Module, images_NKHW: torch.Tensor) -> list[torch.Tensor]:
    """Return the map of every stage of a timm backbone, the deepest last."""
    network: Any = backbone
    maps: list[torch.Tensor] = network.forward_intermediates(images_NKHW, intermediates_only=True)
    return maps


def stage_features(backbone: nn.Module, name: str) -> list[int]:
    """Return the number of features of every stage.

    Raises:
        UserError: The backbone does not expose its stages, or has layers after the last stage.
    """
    network: Any = backbone
    if not hasattr(network, "forward_intermediates"):
        raise UserError(f"backbone {name!r} does not expose its stages; choose a ResNet")
    widths = [int(stage["num_chs"]) for stage in network.feature_info]
    if widths[-1] != network.num_features:
        raise UserError(f"backbone {name!r} has layers after its last stage; choose a ResNet")
    return widths


def stage_strides(backbone: nn.Module) -> list[int]:
    """Return the stride of each stage: image pixels per position of its map."""
    network: Any = backbone
    return [int(stage["reduction"]) for stage in network.feature_info]


def stage_layers(backbone: nn.Module) -> list[nn.Module]:
    """Return the layer that gives the map of each stage, the deepest last.

    The last one is the backbone itself if it has layers after its last stage or does not name the
    layers of its stages.
    """
    network: Any = backbone
    layers = dict(backbone.named_modules())
    stages = list(getattr(network, "feature_info", []))
    found = [layers[stage["module"]] for stage in stages if stage["module"] in layers]
    if not found or stages[-1]["num_chs"] != network.num_features:
        found.append(backbone)
    return found
