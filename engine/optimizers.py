"""The optimizers that a training run may take."""

import torch
from torch import nn

from engine.settings import TrainingSettings


def build_optimizer(
    module: nn.Module, trunk: nn.Module, training: TrainingSettings
) -> torch.optim.Optimizer:
    """Over all parameters of `module`, those of its `trunk` in a group of their own.

    A group's `rate_share` is what part of `engine.rates.rate_at` it learns at.
    """
    of_trunk = list(trunk.parameters())
    known = set(map(id, of_trunk))
    new = [parameter for parameter in module.parameters() if id(parameter) not in known]
    groups = [
        {"params": of_trunk, "rate_share": training.trunk_rate_share},
        {"params": new, "rate_share": 1.0},
    ]
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=training.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, weight_decay=decay)
