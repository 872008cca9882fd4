"""Optimizers and learning-rate schedules of a training.

The learning rate depends on the progress of the training and on its scores alone, so a resumed run
needs no other state.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from atlas.training.settings import TrainingSettings

# The defaults of torch's one-cycle schedule: the share of the epochs in which the rate rises, and
# the first and last rate as shares of the highest rate.
RISE, FIRST, LAST = 0.3, 1 / 25, 1 / 25e4


def build_optimizer(
    module: nn.Module, backbone: nn.Module, training: TrainingSettings
) -> torch.optim.Optimizer:
    """Return the optimizer of all parameters of `module`.

    The parameters of its `backbone` form a group of their own. The entry `rate_share` of a group is
    its share of the learning rate of `rate_at`.
    """
    of_backbone = list(backbone.parameters())
    known = set(map(id, of_backbone))
    new = [parameter for parameter in module.parameters() if id(parameter) not in known]
    groups = [
        {"params": of_backbone, "rate_share": training.backbone_rate_share},
        {"params": new, "rate_share": 1.0},
    ]
    rate, decay = training.learning_rate, training.weight_decay
    # All parameters are updated in one pass, but Lightning cannot clip gradients then.
    fused = training.clip_gradient_norm is None
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=rate, momentum=training.momentum, weight_decay=decay, fused=fused
        )
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, weight_decay=decay, fused=fused)


def rate_at(training: TrainingSettings, progress_epochs: float) -> float:
    """Return the learning rate of new layers after a number of epochs, which may be fractional.

    The rate rises linearly from 0 over `warmup_epochs`. Then it follows `lr_steps` or
    `cosine_cycles` times half a cosine that ends at 0 (Loshchilov & Hutter 2017, equation 5). The
    schedule one_cycle rises and falls by half a cosine each and leaves the momentum unchanged
    (Smith & Topin 2018).
    For the schedule plateau, the caller multiplies the rate by `plateau_share`.
    """
    if training.schedule == "one_cycle":
        return training.learning_rate * _cycle_share(progress_epochs / training.epochs)
    risen = 1.0
    if progress_epochs < training.warmup_epochs:
        risen = progress_epochs / training.warmup_epochs
    return risen * (
        _cosine_rate(training, progress_epochs)
        if training.schedule == "cosine"
        else _stepped_rate(training, progress_epochs)
    )


def plateau_share(
    training: TrainingSettings, scores: Sequence[float], mode: Literal["max", "min"]
) -> float:
    """Return the share of the learning rate that is left after epochs with these scores.

    It is 1 unless the schedule is plateau. The rule is that of torch, which processes all scores
    again each time, so that a resumed run needs no other state. A score is better if it exceeds the
    best score by more than a ten-thousandth of it.
    """
    if training.schedule != "plateau":
        return 1.0
    share = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rule = ReduceLROnPlateau(
        share, mode, factor=training.plateau_factor, patience=training.plateau_patience, eps=0.0
    )
    for score in scores:
        rule.step(score)
    return float(share.param_groups[0]["lr"])


def _cycle_share(share_done: float) -> float:
    if share_done < RISE:
        return _eased(FIRST, 1.0, share_done / RISE)
    return _eased(1.0, LAST, min(1.0, (share_done - RISE) / (1 - RISE)))


def _eased(start: float, end: float, share_done: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share_done))


def _cosine_rate(training: TrainingSettings, progress_epochs: float) -> float:
    warmup = training.warmup_epochs
    share_done = min(1.0, max(0.0, progress_epochs - warmup) / (training.epochs - warmup))
    cycles_done = share_done * training.cosine_cycles
    # The end of the training is the end of the last cycle, not the start of another one.
    of_cycle = cycles_done - min(int(cycles_done), training.cosine_cycles - 1)
    return _eased(training.learning_rate, 0.0, of_cycle)


def _stepped_rate(training: TrainingSettings, progress_epochs: float) -> float:
    rate = training.learning_rate
    for start, stepped in training.lr_steps:
        if progress_epochs >= start:
            rate = stepped
    return rate
