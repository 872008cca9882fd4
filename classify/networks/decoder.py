"""From a trunk's last map back to the image. Axes: N images, F features, K channels, h x w a map.

Source: the dual-loss ResNet34 of HPA 2018's 4th place: six blocks of a 3 x 3 convolution with half
as many filters as the one before, ReLU, and doubling; kept small, because it is only a teacher.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

BLOCKS = 6
FIRST_FILTERS = 256  # theirs had 512, as many as the trunk's last map


class Decoder(nn.Module):
    """N x F x h x w -> N x K x H x W in 0..1.

    Six doublings are one more than a trunk of stride 32 has halvings, so the map is halved first,
    as theirs was; where it has an odd side, or the image is no multiple of 64 px, the result is
    brought to the image's size.
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


def _block(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, filters, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)
    )
