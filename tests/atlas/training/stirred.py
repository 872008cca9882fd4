"""Untrained networks in which all layers affect the output.

timm initialises the last BatchNorm of every residual block with zeros. An untrained network is
therefore nearly linear in its stem, and mistakes of an export in later layers would not show.
"""

import torch
from torch import nn


def stirred(network: nn.Module, images_NCHW: torch.Tensor, *, seed: int = 0) -> nn.Module:
    """Return the network in eval mode with random BatchNorm weights and statistics of images."""
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=generator))
            norm.bias.copy_(0.3 * torch.randn(norm.bias.shape, generator=generator))
            norm.momentum = None  # the statistics are a plain mean over all batches
        network.train()(images_NCHW)
    return network.eval()
