"""Pooling and heads. Axes: N images, F features, h x w the feature map."""

import torch
from torch import nn


def in_float32(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Of a trunk in bfloat16 too: the rest costs nothing, and gives what cosines, thresholds and
    ranks are taken of."""
    with torch.autocast(inputs.device.type, enabled=False):
        outputs: torch.Tensor = module(inputs.float())
    return outputs


class AvgMaxPool(nn.Module):
    """Average and maximum side by side: N x F x h x w -> N x 2F."""

    def forward(self, features_NFhw: torch.Tensor) -> torch.Tensor:
        return torch.cat([features_NFhw.mean((2, 3)), features_NFhw.amax((2, 3))], dim=1)


def winner_head(
    in_features: int,
    hidden: int,
    out_features: int,
    *,
    dropouts: tuple[float, float],
    last_batchnorm: bool,
) -> nn.Sequential:
    """The head of the HPA 2018 winner: N x in_features -> N x out_features.

    BatchNorm, dropout, Linear, ReLU, BatchNorm, dropout, Linear; the metric model ends in another
    BatchNorm, the classifier does not.
    """
    layers: list[nn.Module] = [
        nn.BatchNorm1d(in_features),
        nn.Dropout(dropouts[0]),
        nn.Linear(in_features, hidden),
        nn.ReLU(),
        nn.BatchNorm1d(hidden),
        nn.Dropout(dropouts[1]),
        nn.Linear(hidden, out_features),
    ]
    if last_batchnorm:
        layers.append(nn.BatchNorm1d(out_features))
    return nn.Sequential(*layers)
