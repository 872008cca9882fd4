"""Losses that follow from binary cross-entropy by weighing answers or choosing images.

Axes: N images of a batch, C classes. Logits N x C, targets N x C of 0 and 1 and of the same type;
each loss is a scalar: a mean over classes, or of `focal` and `asymmetric` a sum over classes and a
mean over images.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

FOCAL_GAMMA = 2.0
NEGATIVE_GAMMA = 4
PROBABILITY_SHIFT = 0.05


def weighted_bce(logits_NC: Tensor, targets_NC: Tensor, *, positive_weights_C: Tensor) -> Tensor:
    """Cross-entropy in which each positive of a class counts as often as the class's weight."""
    weights_C = positive_weights_C.to(logits_NC)
    return functional.binary_cross_entropy_with_logits(logits_NC, targets_NC, pos_weight=weights_C)


def positive_weights(weight: float | Literal["counts"], training_targets_NC: Tensor) -> Tensor:
    """Return a weight for the positives of each class, C, float64.

    weight: one for all classes; or "counts", the negatives over the positives of each class among
        the training images, so that both weigh alike in all. At least one of either is counted, so
        that a class which no training image carries, or which all carry, has a weight too.
    """
    targets_NC = training_targets_NC.double()
    if weight != "counts":
        return targets_NC.new_full(targets_NC.shape[1:], weight)
    positives_C = targets_NC.sum(dim=0).clamp(min=1)
    negatives_C = (1 - targets_NC).sum(dim=0).clamp(min=1)
    return negatives_C / positives_C


def hard_negative_bce(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Cross-entropy of the positives and the hardest negatives of each class, a mean over classes.

    Within a class it is the mean over all positives of the batch and the `hard_negatives` negatives
    with the highest logits.

    Source: the first place of the Human Protein Atlas challenge of 2018, third term of its loss.
    """
    each_NC = functional.binary_cross_entropy_with_logits(logits_NC, targets_NC, reduction="none")
    counted_NC = _counted(logits_NC.detach(), targets_NC)
    return ((each_NC * counted_NC).sum(dim=0) / counted_NC.sum(dim=0)).mean()


def hard_negatives(positives: int, negatives: int) -> int:
    """Return how many negatives of a class count; in a batch of any images one answer counts."""
    return min(
        negatives,
        positives + max(2, int(0.5 * negatives)),
        int(0.7 * negatives) + 2,
    )


def focal(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Cross-entropy times (1 - p)^2, where p is the probability of the right answer.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), equation 4.
    """
    # -1 turns off torchvision's balance of positives and negatives, which is 0.25 by default.
    each_NC: Tensor = sigmoid_focal_loss(logits_NC, targets_NC, alpha=-1, gamma=FOCAL_GAMMA)
    return each_NC.sum(dim=1).mean()


def asymmetric(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Cross-entropy that mostly looks away from negatives: the asymmetric loss.

    It is -log p for a positive and q^4 (-log(1 - q)) with q = max(p - 0.05, 0) for a negative, so
    gamma+ = 0, gamma- = 4 and a shift of 0.05. Gradients pass through q^4 too, and a
    negative below 0.05 costs nothing.

    Source: Ben-Baruch et al., Asymmetric Loss For Multi-Label Classification (2021). timm's version
    clamps probabilities at 1e-8, below which a positive that is missed altogether has no gradient.
    """
    shifted_NC = (torch.sigmoid(logits_NC) - PROBABILITY_SHIFT).clamp(min=0)
    present_NC = -functional.logsigmoid(logits_NC)
    absent_NC = -(shifted_NC**NEGATIVE_GAMMA) * torch.log1p(-shifted_NC)
    return torch.where(targets_NC > 0, present_NC, absent_NC).sum(dim=1).mean()


def _counted(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return where the positives and the hardest negatives are, N x C."""
    images, positive_NC = len(targets_NC), targets_NC > 0
    # By the number of negatives, in Python: rounding 0.7 n in float32 gives other numbers.
    kept = [hard_negatives(images - negatives, negatives) for negatives in range(images + 1)]
    kept_C = torch.tensor(kept, device=targets_NC.device)[(~positive_NC).sum(dim=0)]
    # Positives behind all negatives. Stable, so that equal logits keep the order of images.
    falling_NC = logits_NC.masked_fill(positive_NC, -torch.inf)
    order_NC = falling_NC.argsort(dim=0, descending=True, stable=True)
    return positive_NC | (order_NC.argsort(dim=0) < kept_C)
