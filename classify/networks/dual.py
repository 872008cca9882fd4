"""A trunk that classifies and has to keep enough to draw the image again.

Axes: N images, C stored channels, K channels seen, H x W pixels, F features, L labels, h x w a map.

Source: the dual-loss ResNet34 of HPA 2018's 4th place, in its first reading: mean squared error of
the reconstruction with weight 10 beside the classification with weight 1. Errors are of pixels in
0..1.
"""

import torch
from torch import nn
from torch.nn import functional

from atlas.core.errors import UserError
from atlas.training.backbones import Trunk
from atlas.training.layers import AvgMaxPool
from classify.networks.autoencoder import Decoder
from classify.networks.base import (
    ClassifierNetwork,
    Inputs,
    stage_features,
    stage_maps,
    stage_strides,
)
from classify.networks.trunk_and_head import pooled_head
from classify.settings import ClassifierSettings


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


# A trunk that classifies and has to know where the protein of each label is.
#
# Axes: N images, C stored channels, H x W pixels, F features, L labels, h x w a map.
#
# Source: the dual-loss ResNet34 of HPA 2018's 4th place, in its second reading: the protein
# channel, reduced to the size of a map, is wanted in the maps of an image's labels, and nothing
# in the others. They speak of a 32 x 32 x 128 layer. A ResNet34 has 128 filters at an eighth of
# the image's side: 32 x 32 at 256 px, which the recipe takes (at 512 px, 32 x 32 is the stage of
# 256 filters). Taken is the stage of stride 8, at whatever size the image gives it.


STRIDE = 8
USUAL_PROTEIN = "green"


class DualSegmentation(ClassifierNetwork):
    """Adds a 1 x 1 convolution of one stage to L maps, which only the second loss uses.

    stage: which of the trunk's maps. protein: which of the stored channels is followed.
    """

    def __init__(
        self,
        inputs: Inputs,
        trunk: nn.Module,
        pool: nn.Module,
        head: nn.Sequential,
        segment: nn.Conv2d,
        *,
        stage: int,
        protein: int,
    ) -> None:
        super().__init__(inputs, trunk, pool, head)
        self.segment, self.stage, self.protein = segment, stage, protein

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        return stage_maps(self.trunk, self.inputs(images_NCHW))

    def auxiliary_loss(
        self, maps: list[torch.Tensor], images_NCHW: torch.Tensor, targets_NL: torch.Tensor
    ) -> torch.Tensor:
        """Binary cross-entropy of the L maps, mean over images, labels and places."""
        logits_NLhw: torch.Tensor = self.segment(maps[self.stage])
        protein_N1HW = images_NCHW[:, self.protein : self.protein + 1].float() / 255
        height, width = logits_NLhw.shape[2:]
        protein_N1hw = functional.adaptive_avg_pool2d(protein_N1HW, (height, width))
        wanted_NLhw = protein_N1hw * targets_NL[:, :, None, None]
        return functional.binary_cross_entropy_with_logits(logits_NLhw.float(), wanted_NLhw)


def dual_segmentation(
    inputs: Inputs, trunk: Trunk, settings: ClassifierSettings, *, labels: int
) -> ClassifierNetwork:
    """Raises UserError for a trunk without such a stage and for a channel the atlas lacks."""
    features = stage_features(trunk.module, settings.trunk)
    strides = stage_strides(trunk.module)
    if STRIDE not in strides:
        raise UserError(f"trunk {settings.trunk!r} has no stage of stride {STRIDE}; take a ResNet")
    stage = strides.index(STRIDE)
    return DualSegmentation(
        inputs,
        trunk.module,
        AvgMaxPool(),
        pooled_head(trunk, settings, labels=labels),
        nn.Conv2d(features[stage], labels, 1),
        stage=stage,
        protein=protein_channel(settings.protein_channel, inputs.stored),
    )


def protein_channel(name: str | None, stored: tuple[str, ...]) -> int:
    """Its number. None takes green, or the first where none is called so. Raises UserError."""
    if name is None:
        return stored.index(USUAL_PROTEIN) if USUAL_PROTEIN in stored else 0
    if name not in stored:
        raise UserError(f"protein channel {name}: the atlas has {', '.join(stored)}")
    return stored.index(name)
