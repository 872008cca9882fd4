"""Define the student baseline of HPA 2018: a backbone whose whole last map is the head's input.

The layers are BatchNorm of the input, backbone, 1 x 1 convolution to 32 filters with ReLU, flatten,
dropout, Linear to 1024, ReLU, dropout and Linear. At 299 px, the last map of ResNet50 is 10 x 10,
that of VGG16 9 x 9 and that of InceptionResNetV2 8 x 8, in timm as in Keras. The three parts of the
head therefore have the published numbers of weights: 65,568 / 3,277,824 / 28,700, 16,416 /
2,655,232 / 28,700 and 49,184 / 2,098,176 / 28,700. The head only accepts images of one size.

Axes: N images, K channels that the network sees, F features, L labels, h x w a map.
"""

import torch
from torch import nn

from atlas.core.errors import UserError
from atlas.training.backbones import Backbone, map_shape
from classify.networks.base import ClassifierNetwork, Inputs
from classify.settings import ClassifierSettings

FILTERS = 32


class FineTune(ClassifierNetwork):
    """Normalise the input a second time, by learned statistics, and flatten the last map.

    Raises:
        UserError: The settings have no image size, which the head depends on.
    """

    def __init__(
        self, inputs: Inputs, backbone: Backbone, settings: ClassifierSettings, *, labels: int
    ) -> None:
        if settings.seen_px is None:
            raise UserError("network finetune needs an image size; give --image-size-px")
        _, features, height, width = map_shape(
            backbone.module, channels=inputs.seen, image_px=settings.seen_px
        )
        pool = nn.Sequential(nn.Conv2d(features, FILTERS, 1), nn.ReLU(), nn.Flatten())
        head = nn.Sequential(
            nn.Dropout(settings.dropouts[0]),
            nn.Linear(FILTERS * height * width, settings.hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropouts[1]),
            nn.Linear(settings.hidden, labels),
        )
        super().__init__(inputs, backbone.module, pool, head)
        self.input_norm = nn.BatchNorm2d(inputs.seen)

    def maps(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        """Return the last map of the backbone, N x F x h x w."""
        return [self.backbone(self.input_norm(self.inputs(images_NCHW)))]
