"""The first convolution for any number of channels.

Axes: O filters, K channels it has, C channels it gets, k kernel.
"""

from typing import Any, Literal

import torch
from torch import nn

Stem = Literal["winner", "scaled"]


def widen_stem(module: nn.Module, *, channels: int, stem: Stem) -> None:
    """Gives the first convolution of a timm network `channels` inputs, in place."""
    weight_OKkk = first_convolution(module).weight.detach()
    put_stem(module, stem_weight(weight_OKkk, channels=channels, stem=stem))


def put_stem(module: nn.Module, weight_OCkk: torch.Tensor) -> None:
    """The convolution itself stays, only its weight changes: its class may carry the padding."""
    convolution = first_convolution(module)
    convolution.weight = nn.Parameter(weight_OCkk)
    convolution.in_channels = weight_OCkk.shape[1]


def stem_weight(weight_OKkk: torch.Tensor, *, channels: int, stem: Stem) -> torch.Tensor:
    """The filters of K channels made into O x C x k x k; where K = C they stay.

    winner: the first of them, then copies of the first: of red, green, blue, a copy of red.
    Activations grow with the number of channels; kept because it is what the HPA 2018 winner
    trained from.
    scaled: the K in turn, times K / C (one channel: their sum), so that a gray image shown in every
    channel gives about the activations it gave before.
    """
    own = weight_OKkk.shape[1]
    if stem == "winner" or channels == own:
        return weight_OKkk[:, [c if c < own else 0 for c in range(channels)]].clone()
    if channels == 1:
        return weight_OKkk.sum(1, keepdim=True)
    return weight_OKkk[:, [c % own for c in range(channels)]] * (own / channels)


def first_convolution(module: nn.Module) -> nn.Conv2d:
    """Raises TypeError where the first layer of a timm network is not a convolution."""
    found = module.get_submodule(first_convolution_name(module))
    if not isinstance(found, nn.Conv2d):
        raise TypeError(f"the first layer is a {type(found).__name__}, not a convolution")
    return found


def first_convolution_name(module: nn.Module) -> str:
    config: Any = module.pretrained_cfg
    name = config["first_conv"]
    return str(name if isinstance(name, str) else name[0])
