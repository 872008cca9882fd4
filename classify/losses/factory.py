"""Losses from settings. Axes: N images of a batch, C classes; targets are 0 or 1."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from classify.losses.cross_entropy import (
    asymmetric,
    bce,
    focal,
    hard_negative_bce,
    multilabel_soft_margin,
    positive_weights,
    weighted_bce,
)
from classify.losses.overlap import lovasz_flat, lovasz_hinge, soft_f1, symmetric_lovasz
from classify.losses.terms import LossName, LossSum
from classify.settings import ClassifierSettings

Loss = Callable[[Tensor, Tensor], Tensor]

# weighted_bce is the one that wants to know more than a batch.
OF_A_BATCH: dict[LossName, Loss] = {
    "bce": bce,
    "focal": focal,
    "lovasz_hinge": lovasz_hinge,
    "lovasz_flat": lovasz_flat,
    "symmetric_lovasz": symmetric_lovasz,
    "hard_negative_bce": hard_negative_bce,
    "soft_f1": soft_f1,
    "multilabel_soft_margin": multilabel_soft_margin,
    "asymmetric": asymmetric,
}


@dataclass(frozen=True)
class WeightedSum:
    """Losses, each with its weight. Can be sent to other processes."""

    parts: tuple[tuple[float, Loss], ...]

    def __call__(self, logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
        """A scalar. Half precision is left: a probability near 1 needs all digits."""
        if logits_NC.dtype in (torch.float16, torch.bfloat16):
            logits_NC = logits_NC.float()
        targets_NC = targets_NC.to(logits_NC.dtype)
        # Autocast needs no turning off: it takes no operation of these losses to 16 bits.
        weighed = [weight * loss(logits_NC, targets_NC) for weight, loss in self.parts]
        return torch.stack(weighed).sum()


@dataclass(frozen=True)
class Phases:
    """Which loss is in force when: pairs of the epoch, from 0, from which on it is; rising."""

    phases: tuple[tuple[int, Loss], ...]

    def at(self, epoch: int) -> Loss:
        """Follows from the epoch alone, so that a run that was stopped goes on with the same."""
        return [loss for start, loss in self.phases if start <= epoch][-1]


def build_phases(settings: ClassifierSettings, training_targets_NC: Tensor) -> Phases:
    """The loss of the settings and, where they name one, the later loss.

    training_targets_NC: of all training images, N x C of 0 and 1.
    """
    weight, weights_C = settings.positive_weight, None
    if weight is not None:
        weights_C = positive_weights(weight, training_targets_NC)
    first = build_loss(settings.loss, weights_C)
    if settings.later_loss_from_epoch is None:
        return Phases(((0, first),))
    later = build_loss(settings.later_loss, weights_C)
    return Phases(((0, first), (settings.later_loss_from_epoch, later)))


def build_loss(terms: LossSum, positive_weights_C: Tensor | None = None) -> WeightedSum:
    """The weighted sum of the terms.

    positive_weights_C: for weighted_bce, which cannot do without (ValueError).
    """
    return WeightedSum(tuple((term.weight, _loss(term.name, positive_weights_C)) for term in terms))


def _loss(name: LossName, positive_weights_C: Tensor | None) -> Loss:
    if name != "weighted_bce":
        return OF_A_BATCH[name]
    if positive_weights_C is None:
        raise ValueError("weighted_bce needs positive weights")
    return partial(weighted_bce, positive_weights_C=positive_weights_C)
