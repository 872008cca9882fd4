"""Binary cross-entropy and what it becomes by weighing or choosing images.

Axes: N images of a batch, C classes. Logits N x C, targets N x C of 0 and 1 and of the same type;
each loss is a scalar, a mean over classes.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss


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


# Losses that look away from what is answered well already.
#
# Axes: N images of a batch, C classes. Logits N x C, targets N x C of 0 and 1 and of the same type;
# each loss is a scalar, a sum over classes and mean over images.


FOCAL_GAMMA = 2.0
NEGATIVE_GAMMA = 4
PROBABILITY_SHIFT = 0.05


def focal(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """(1 - p)^2 (-log p), p of the right answer.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), equation 4.
    """
    # -1 turns off torchvision's balance of positives and negatives, which is .25 by default.
    each_NC: Tensor = sigmoid_focal_loss(logits_NC, targets_NC, alpha=-1, gamma=FOCAL_GAMMA)
    return each_NC.sum(dim=1).mean()


def asymmetric(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """-log p for a positive, q^4 (-log(1 - q)) with q = max(p - .05, 0) for a negative.

    So gamma+ is 0, gamma- 4 and the shift .05, and gradients pass through q^4 too. A negative below
    .05 costs nothing.

    Source: Ben-Baruch et al., Asymmetric Loss For Multi-Label Classification (2021). timm's cuts
    probabilities at 1e-8, from where on a positive that is missed altogether teaches nothing.
    """
    shifted_NC = (torch.sigmoid(logits_NC) - PROBABILITY_SHIFT).clamp(min=0)
    present_NC = -functional.logsigmoid(logits_NC)
    absent_NC = -(shifted_NC**NEGATIVE_GAMMA) * torch.log1p(-shifted_NC)
    return torch.where(targets_NC > 0, present_NC, absent_NC).sum(dim=1).mean()
