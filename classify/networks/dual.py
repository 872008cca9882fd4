"""Define networks with a second loss: the dual-loss ResNet34 of the 4th place of HPA 2018.

The source can be interpreted in two ways.

`DualDecoder` is the first: the last map must contain enough to reconstruct the image, with a mean
squared error of weight 10 beside the classification with weight 1. Pixels are in 0..1.

`DualSegmentation` is the second: the protein channel, reduced to the size of a map, is the target
for the maps of the image's labels; the target of the other maps is 0. The source mentions a layer
of 32 x 32 x 128. A ResNet34 has 128 filters at an eighth of the image's side, which is 32 x 32 at
256 px, the size in the recipe. (At 512 px, the stage of 32 x 32 has 256 filters.) This class uses
the stage of stride 8, whatever its size.

Axes: N images, C stored channels, K channels that the network sees, H x W pixels, F features, L
labels, h x w a map.
"""

import torch
from torch import nn
from torch.nn import functional

from atlas.core.errors import UserError
from atlas.training.backbones import Backbone
from classify.networks.autoencoder import Decoder
from classify.networks.base import (
    BackboneAndHead,
    Inputs,
    stage_features,
    stage_maps,
    stage_strides,
)
from classify.settings import ClassifierSettings

STRIDE = 8
USUAL_PROTEIN = "green"


class DualDecoder(BackboneAndHead):
    """Add a decoder of the last map, which only the second loss uses."""

    def __init__(
        self, inputs: Inputs, backbone: Backbone, settings: ClassifierSettings, *, labels: int
    ) -> None:
        super().__init__(inputs, backbone, settings, labels=labels)
        self.decoder = Decoder(backbone.features, inputs.seen)

    def auxiliary_loss(
        self, maps: list[torch.Tensor], images_NCHW: torch.Tensor, targets_NL: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean squared error of the reconstructed mixed channels, over all pixels."""
        wanted_NKHW = self.inputs.in_unit_range(images_NCHW)
        height, width = images_NCHW.shape[2:]
        drawn_NKHW = self.decoder(maps[-1], (height, width))
        return functional.mse_loss(drawn_NKHW.float(), wanted_NKHW)


class DualSegmentation(BackboneAndHead):
    """Add a 1 x 1 convolution from one stage to L maps, which only the second loss uses.

    Raises:
        UserError: The backbone has no stage of stride 8, or the atlas lacks the protein channel.
    """

    def __init__(
        self, inputs: Inputs, backbone: Backbone, settings: ClassifierSettings, *, labels: int
    ) -> None:
        super().__init__(inputs, backbone, settings, labels=labels)
        features = stage_features(backbone.module, settings.backbone)
        strides = stage_strides(backbone.module)
        if STRIDE not in strides:
            raise UserError(
                f"backbone {settings.backbone!r} has no stage of stride {STRIDE}; choose a ResNet"
            )
        self.stage = strides.index(STRIDE)
        self.protein = protein_channel(settings.protein_channel, inputs.stored)
        self.segment = nn.Conv2d(features[self.stage], labels, 1)

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps of all stages, the deepest last."""
        return stage_maps(self.backbone, self.inputs(images_NCHW))

    def auxiliary_loss(
        self, maps: list[torch.Tensor], images_NCHW: torch.Tensor, targets_NL: torch.Tensor
    ) -> torch.Tensor:
        """Return the binary cross-entropy of the L maps, a mean over images, labels and places."""
        logits_NLhw: torch.Tensor = self.segment(maps[self.stage])
        protein_N1HW = images_NCHW[:, self.protein : self.protein + 1].float() / 255
        height, width = logits_NLhw.shape[2:]
        protein_N1hw = functional.adaptive_avg_pool2d(protein_N1HW, (height, width))
        wanted_NLhw = protein_N1hw * targets_NL[:, :, None, None]
        return functional.binary_cross_entropy_with_logits(logits_NLhw.float(), wanted_NLhw)


def protein_channel(name: str | None, stored: tuple[str, ...]) -> int:
    """Return the number of a stored channel.

    None means green, or the first channel if there is no green.

    Raises:
        UserError: The channel is not stored.
    """
    if name is None:
        return stored.index(USUAL_PROTEIN) if USUAL_PROTEIN in stored else 0
    if name not in stored:
        raise UserError(f"protein channel {name} does not exist; the atlas has {', '.join(stored)}")
    return stored.index(name)
