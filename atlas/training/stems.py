"""Stems: the first convolutions of timm networks, for any number of channels.

Axes: O filters, K channels before and C channels after the change, k kernel size.
"""

from typing import Any, Literal

import torch
from torch import nn

from atlas.core.errors import UserError

Stem = Literal["winner", "scaled"]


def widen_stem(module: nn.Module, *, channels: int, stem: Stem) -> None:
    """Give the first convolution of a timm network `channels` inputs, in place.

    A few networks have several first convolutions, which see the image side by side.
    """
    for convolution in first_convolutions(module).values():
        weight_OKkk = convolution.weight.detach()
        put_stem(convolution, stem_weight(weight_OKkk, channels=channels, stem=stem))


def stem_weight(weight_OKkk: torch.Tensor, *, channels: int, stem: Stem) -> torch.Tensor:
    """Return filters of K channels as filters of C channels, O x C x k x k.

    If K equals C, the filters do not change. Otherwise they depend on `stem`:

    - winner: the first K channels, then copies of the first one; for red, green and blue that is a
      copy of red. Activations grow with the number of channels. The HPA 2018 winner trained like
      this.
    - scaled: the K channels in turn, times K / C (for one channel, their sum). A gray image shown
      in every channel then gives about the same activations as before.
    """
    own = weight_OKkk.shape[1]
    if stem == "winner" or channels == own:
        return weight_OKkk[:, [c if c < own else 0 for c in range(channels)]].clone()
    if channels == 1:
        return weight_OKkk.sum(1, keepdim=True)
    return weight_OKkk[:, [c % own for c in range(channels)]] * (own / channels)


def first_convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    """Return the layers that see the image, by their names.

    Raises:
        UserError: The network does not start with a convolution.
    """
    config: Any = module.pretrained_cfg
    given = config["first_conv"]
    names = [given] if isinstance(given, str) else list(given or ())
    layers = {name: module.get_submodule(name) for name in names}
    convolutions = {n: layer for n, layer in layers.items() if isinstance(layer, nn.Conv2d)}
    if not convolutions or convolutions.keys() != layers.keys():
        raise UserError(
            f"network {config['architecture']!r} does not start with a convolution, so it cannot "
            "be given any number of channels; use another one"
        )
    return convolutions


def put_stem(convolution: nn.Conv2d, weight_OCkk: torch.Tensor) -> None:
    """Change the weight of a first convolution.

    Its class may define padding, so the layer stays.
    """
    convolution.weight = nn.Parameter(weight_OCkk)
    convolution.in_channels = weight_OCkk.shape[1]
