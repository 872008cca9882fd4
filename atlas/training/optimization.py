"""The optimizers of a training run, and its learning-rate schedules.

A learning rate follows from how far training has come and from its scores alone, so that a resumed
run needs nothing else.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from atlas.training.settings import TrainingSettings

# Of one cycle, as torch has them: the share of the epochs in which the rate rises, and what part of
# the highest rate it begins and ends with.
RISE, FIRST, LAST = 0.3, 1 / 25, 1 / 25e4


def build_optimizer(
    module: nn.Module, backbone: nn.Module, training: TrainingSettings
) -> torch.optim.Optimizer:
    """Return the optimizer of all parameters of `module`.

    Those of its `backbone` are in a group of their own.

    A group's `rate_share` is what part of `rate_at` it learns at.
    """
    of_backbone = list(backbone.parameters())
    known = set(map(id, of_backbone))
    new = [parameter for parameter in module.parameters() if id(parameter) not in known]
    groups = [
        {"params": of_backbone, "rate_share": training.backbone_rate_share},
        {"params": new, "rate_share": 1.0},
    ]
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=training.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, weight_decay=decay)


def rate_at(training: TrainingSettings, progress_epochs: float) -> float:
    """The rate of what is new, after so many epochs; parts of one count.

    It rises linearly from 0 over `warmup_epochs`, then follows lr_steps, or half a cosine
    (Loshchilov & Hutter 2017, equation 5, without restarts) down to 0 at the end; or one cycle
    (Smith & Topin 2018; up and down by half a cosine each, the momentum as it is). On a plateau it
    is times `plateau_share`.
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
    """What part of the rate is left after epochs of these scores; 1 unless the schedule is plateau.

    This is torch's own rule, which gets all scores anew each time: a resumed run needs to keep
    nothing else. A score counts as better by more than a ten-thousandth of the best.
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
    share_done = max(0.0, progress_epochs - warmup) / (training.epochs - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share_done)))


def _stepped_rate(training: TrainingSettings, progress_epochs: float) -> float:
    rate = training.learning_rate
    for start, stepped in training.lr_steps:
        if progress_epochs >= start:
            rate = stepped
    return rate
