"""Binary cross-entropy and what it becomes by weighing or choosing images.

Axes: N images of a batch, C classes. Logits N x C, targets N x C of 0 and 1 and of the same type;
each loss is a scalar, a mean over classes.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def bce(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Mean over images and classes of -log p, p of the right answer."""
    return functional.binary_cross_entropy_with_logits(logits_NC, targets_NC)


def weighted_bce(logits_NC: Tensor, targets_NC: Tensor, *, positive_weights_C: Tensor) -> Tensor:
    """The same, where each positive of a class counts as often as the class's weight says."""
    weights_C = positive_weights_C.to(logits_NC)
    return functional.binary_cross_entropy_with_logits(logits_NC, targets_NC, pos_weight=weights_C)


def positive_weights(weight: float | Literal["counts"], training_targets_NC: Tensor) -> Tensor:
    """A weight for the positives of each class, C, float64.

    weight: one for all classes; or "counts", negatives over positives among the training images:
        both then weigh alike in all. Of either at least one is counted, so that a class that no
        training image carries, or that all do, has a weight too.
    """
    targets_NC = training_targets_NC.double()
    if weight != "counts":
        return targets_NC.new_full(targets_NC.shape[1:], weight)
    positives_C = targets_NC.sum(dim=0).clamp(min=1)
    negatives_C = (1 - targets_NC).sum(dim=0).clamp(min=1)
    return negatives_C / positives_C


def multilabel_soft_margin(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """torch's loss of this name: with classes of equal weight the same number as `bce`."""
    return functional.multilabel_soft_margin_loss(logits_NC, targets_NC)


def hard_negative_bce(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Cross-entropy of a class's positives and hardest negatives alone; mean over classes.

    Within a class it is the mean over all positives of the batch and the negatives with the
    highest logits, as many as `hard_negatives` says.

    Source: the first place of the Human Protein Atlas challenge of 2018, third term of its loss.
    """
    each_NC = functional.binary_cross_entropy_with_logits(logits_NC, targets_NC, reduction="none")
    counted_NC = _counted(logits_NC.detach(), targets_NC)
    return ((each_NC * counted_NC).sum(dim=0) / counted_NC.sum(dim=0)).mean()


def hard_negatives(positives: int, negatives: int) -> int:
    """How many negatives of a class count. Where there is an image there is one that counts."""
    return min(
        negatives,
        positives + max(2, int(0.5 * negatives)),
        int(0.7 * negatives) + 2,
    )


def _counted(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Where a positive is, or one of the hardest negatives."""
    images, positive_NC = len(targets_NC), targets_NC > 0
    # By the number of negatives, in Python: rounding 0.7 n in float32 gives other numbers.
    kept = [hard_negatives(images - negatives, negatives) for negatives in range(images + 1)]
    kept_C = torch.tensor(kept, device=targets_NC.device)[(~positive_NC).sum(dim=0)]
    # Positives behind all negatives. Stable, so that equal logits keep the order of images.
    falling_NC = logits_NC.masked_fill(positive_NC, -torch.inf)
    order_NC = falling_NC.argsort(dim=0, descending=True, stable=True)
    return positive_NC | (order_NC.argsort(dim=0) < kept_C)
