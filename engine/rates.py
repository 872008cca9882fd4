"""The optimizer and its learning rate, which follows from how far training has come alone."""

import math

import torch
from torch import nn

from engine.settings import TrainingSettings


def rate_at(training: TrainingSettings, progress_epochs: float) -> float:
    """The rate of what is new, after so many epochs; parts of one count.

    It rises linearly from 0 over `warmup_epochs`, then follows lr_steps, or half a cosine
    (Loshchilov & Hutter 2017, equation 5, without restarts) down to 0 at the end.
    """
    risen = 1.0
    if progress_epochs < training.warmup_epochs:
        risen = progress_epochs / training.warmup_epochs
    return risen * (
        _cosine_rate(training, progress_epochs)
        if training.schedule == "cosine"
        else _stepped_rate(training, progress_epochs)
    )


def adam(module: nn.Module, trunk: nn.Module, training: TrainingSettings) -> torch.optim.Adam:
    """Adam over all parameters of `module`, those of its `trunk` in a group of their own.

    A group's `rate_share` is what part of `rate_at` it learns at.
    """
    of_trunk = list(trunk.parameters())
    known = set(map(id, of_trunk))
    new = [parameter for parameter in module.parameters() if id(parameter) not in known]
    return torch.optim.Adam(
        [
            {"params": of_trunk, "rate_share": training.trunk_rate_share},
            {"params": new, "rate_share": 1.0},
        ],
        lr=training.learning_rate,
    )


def _cosine_rate(training: TrainingSettings, progress_epochs: float) -> float:
    warmup = training.warmup_epochs
    share_done = max(0.0, progress_epochs - warmup) / (training.epochs - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share_done)))


def _stepped_rate(training: TrainingSettings, progress_epochs: float) -> float:
    rate = training.learning_rate
    for start, stepped in training.lr_steps:
        if progress_epochs >= start:
            rate = stepped
    return rate
