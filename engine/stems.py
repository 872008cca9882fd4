"""The first convolution for any number of channels. Axes: O filters, C channels, k kernel."""

from typing import Any, Literal

import torch
from timm.models import adapt_input_conv
from torch import nn

Stem = Literal["winner", "scaled"]


def widen_stem(module: nn.Module, *, channels: int, stem: Stem) -> None:
    """Gives the first convolution of a timm network `channels` inputs, in place.

    The convolution itself stays, only its weight changes: its class may carry the padding.
    """
    convolution = first_convolution(module)
    with torch.no_grad():
        weight = stem_weight(convolution.weight, channels=channels, stem=stem)
    convolution.weight = nn.Parameter(weight)
    convolution.in_channels = channels


def stem_weight(weight_O3kk: torch.Tensor, *, channels: int, stem: Stem) -> torch.Tensor:
    """The filters of three channels made into O x C x k x k.

    winner: red, green, blue, then copies of red. Activations grow with the number of channels;
    kept because it is what the HPA 2018 winner trained from.
    scaled: the three in turn, times 3 / C (one channel: their sum), so that a gray image shown in
    every channel gives the activations it gave before.
    """
    if stem == "scaled":
        return adapt_input_conv(channels, weight_O3kk).clone()
    source = [c if c < 3 else 0 for c in range(channels)]
    return weight_O3kk[:, source].clone()


def first_convolution(module: nn.Module) -> nn.Conv2d:
    """Raises TypeError where the first layer of a timm network is not a convolution."""
    config: Any = module.pretrained_cfg
    name = config["first_conv"]
    found = module.get_submodule(name if isinstance(name, str) else name[0])
    if not isinstance(found, nn.Conv2d):
        raise TypeError(f"{name} is a {type(found).__name__}, not a convolution")
    return found
