"""Losses that are derived from binary cross-entropy by weights or by the choice of images.

Logits are N x C; targets are 0 or 1, N x C, with the same type. Each loss is a scalar: a mean over
classes and images, except for `focal` and `asymmetric`, which are a sum over classes and a mean
over images.

Axes: N images of a batch, C classes.
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
    """Return the cross-entropy in which the positives of each class are weighted."""
    weights_C = positive_weights_C.to(logits_NC)
    return functional.binary_cross_entropy_with_logits(logits_NC, targets_NC, pos_weight=weights_C)


def positive_weights(weight: float | Literal["counts"], training_targets_NC: Tensor) -> Tensor:
    """Return a weight for the positives of each class, float64 C.

    Args:
        weight: One weight for all classes, or "counts" for the number of negatives over the number
            of positives of each class, which gives both the same total weight. Each number is at
            least 1, so that a class which no training image carries, or all of them, has a weight
            too.
        training_targets_NC: Labels of the training images.
    """
    targets_NC = training_targets_NC.double()
    if weight != "counts":
        return targets_NC.new_full(targets_NC.shape[1:], weight)
    positives_C = targets_NC.sum(dim=0).clamp(min=1)
    negatives_C = (1 - targets_NC).sum(dim=0).clamp(min=1)
    return negatives_C / positives_C


def hard_negative_bce(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return the cross-entropy of the positives and the hardest negatives of each class.

    Within a class it is the mean over all positives of the batch and the `hard_negatives` negatives
    with the highest logits. The loss is the mean over classes.

    Source: the first place of the Human Protein Atlas challenge of 2018, third term of its loss.
    """
    each_NC = functional.binary_cross_entropy_with_logits(logits_NC, targets_NC, reduction="none")
    counted_NC = _counted(logits_NC.detach(), targets_NC)
    return ((each_NC * counted_NC).sum(dim=0) / counted_NC.sum(dim=0)).mean()


def hard_negatives(positives: int, negatives: int) -> int:
    """Return how many negatives of a class count.

    Every class of a non-empty batch has at least one image that counts.
    """
    return min(
        negatives,
        positives + max(2, int(0.5 * negatives)),
        int(0.7 * negatives) + 2,
    )


def focal(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return the focal loss: the cross-entropy times (1 - p)^2.

    Here p is the probability of the right answer.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), equation 4.
    """
    # alpha = -1 disables torchvision's weights of positives and negatives.
    each_NC: Tensor = sigmoid_focal_loss(logits_NC, targets_NC, alpha=-1, gamma=FOCAL_GAMMA)
    return each_NC.sum(dim=1).mean()


def asymmetric(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return the asymmetric loss, which gives little weight to easy negatives.

    It is -log p for a positive and q^4 (-log(1 - q)) with q = max(p - 0.05, 0) for a negative, so
    gamma+ = 0, gamma- = 4 and the shift is 0.05. Gradients pass through q^4 too, and a negative
    below 0.05 costs nothing.

    Source: Ben-Baruch et al., Asymmetric Loss For Multi-Label Classification (2021). The version in
    timm clamps probabilities at 1e-8, below which a positive that is missed completely has no
    gradient.
    """
    shifted_NC = (torch.sigmoid(logits_NC) - PROBABILITY_SHIFT).clamp(min=0)
    present_NC = -functional.logsigmoid(logits_NC)
    absent_NC = -(shifted_NC**NEGATIVE_GAMMA) * torch.log1p(-shifted_NC)
    return torch.where(targets_NC > 0, present_NC, absent_NC).sum(dim=1).mean()


def _counted(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return where the positives and the hardest negatives are, bool N x C."""
    images, positive_NC = len(targets_NC), targets_NC > 0
    # A table by the number of negatives, computed in Python, because float32 gives other numbers.
    kept = [hard_negatives(images - negatives, negatives) for negatives in range(images + 1)]
    kept_C = torch.tensor(kept, device=targets_NC.device)[(~positive_NC).sum(dim=0)]
    # Positives rank behind all negatives. A stable sort keeps the image order of equal logits.
    falling_NC = logits_NC.masked_fill(positive_NC, -torch.inf)
    order_NC = falling_NC.argsort(dim=0, descending=True, stable=True)
    return positive_NC | (order_NC.argsort(dim=0) < kept_C)
