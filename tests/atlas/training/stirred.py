"""Untrained networks whose layers all count.

timm starts the last BatchNorm of every residual block at zero, so an untrained network is nearly
linear in its stem, and mistakes of an export in all that follows would not show.
"""

import torch
from torch import nn


def stirred(network: nn.Module, images_NCHW: torch.Tensor, *, seed: int = 0) -> nn.Module:
    """The network with random BatchNorm weights, and statistics of these images; evaluating."""
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=generator))
            norm.bias.copy_(0.3 * torch.randn(norm.bias.shape, generator=generator))
            norm.momentum = None  # the plain mean over what comes
        network.train()(images_NCHW)
    return network.eval()
