"""Build losses from settings.

Axes: N images of a batch, C classes; targets are 0 or 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from classify.losses.cross_entropy import (
    asymmetric,
    focal,
    hard_negative_bce,
    positive_weights,
    weighted_bce,
)
from classify.losses.overlap import lovasz_flat, lovasz_hinge, soft_f1, symmetric_lovasz
from classify.losses.terms import LossName, LossSum
from classify.settings import ClassifierSettings

Loss = Callable[[Tensor, Tensor], Tensor]

# All losses but weighted_bce, which needs more than a batch. Classes have equal weight here, so
# multilabel_soft_margin equals bce.
LOSSES: dict[LossName, Loss] = {
    "bce": functional.binary_cross_entropy_with_logits,
    "focal": focal,
    "lovasz_hinge": lovasz_hinge,
    "lovasz_flat": lovasz_flat,
    "symmetric_lovasz": symmetric_lovasz,
    "hard_negative_bce": hard_negative_bce,
    "soft_f1": soft_f1,
    "multilabel_soft_margin": functional.multilabel_soft_margin_loss,
    "asymmetric": asymmetric,
}


@dataclass(frozen=True)
class WeightedSum:
    """Compute a weighted sum of losses; it can be sent to other processes.

    Attributes:
        parts: The weight of each loss, and the loss.
    """

    parts: tuple[tuple[float, Loss], ...]

    def __call__(self, logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
        """Return the loss, a scalar in at least float32, which probabilities near 1 need."""
        if logits_NC.dtype in (torch.float16, torch.bfloat16):
            logits_NC = logits_NC.float()
        targets_NC = targets_NC.to(logits_NC.dtype)
        # Autocast can stay on, because it casts no operation of these losses to 16 bits.
        weighed = [weight * loss(logits_NC, targets_NC) for weight, loss in self.parts]
        return torch.stack(weighed).sum()


@dataclass(frozen=True)
class Phases:
    """Store the loss of each phase of a training.

    Attributes:
        phases: The first epoch of each phase, counted from 0, and its loss, in rising order.
    """

    phases: tuple[tuple[int, Loss], ...]

    def at(self, epoch: int) -> Loss:
        """Return the loss of an epoch.

        It depends on the epoch only, so a resumed run continues with the same loss.
        """
        return [loss for start, loss in self.phases if start <= epoch][-1]


def build_phases(settings: ClassifierSettings, training_targets_NC: Tensor) -> Phases:
    """Build the loss of the settings and, if there is one, the later loss.

    Args:
        settings: Settings of the classifier.
        training_targets_NC: Labels of all training images as 0 and 1.
    """
    weight, weights_C = settings.positive_weight, None
    if weight is not None:
        weights_C = positive_weights(weight, training_targets_NC)
    first = build_loss(settings.loss, weights_C)
    if settings.later_loss_epoch is None:
        return Phases(((0, first),))
    later = build_loss(settings.later_loss, weights_C)
    return Phases(((0, first), (settings.later_loss_epoch, later)))


def build_loss(terms: LossSum, positive_weights_C: Tensor | None = None) -> WeightedSum:
    """Build the weighted sum of loss terms.

    Args:
        terms: The terms.
        positive_weights_C: Weight of the positives of each class, for weighted_bce.

    Raises:
        ValueError: The sum contains weighted_bce, but there are no positive weights.
    """
    return WeightedSum(tuple((term.weight, _loss(term.name, positive_weights_C)) for term in terms))


def _loss(name: LossName, positive_weights_C: Tensor | None) -> Loss:
    if name != "weighted_bce":
        return LOSSES[name]
    if positive_weights_C is None:
        raise ValueError("weighted_bce needs positive weights")
    return partial(weighted_bce, positive_weights_C=positive_weights_C)
