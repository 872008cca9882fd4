"""Losses of the classifiers. Axes: N images of a batch, C classes; targets are 0 or 1.

All take logits (N x C) and targets of the same shape and type, and give a scalar.
"""

from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss  # type: ignore[import-untyped]

FOCAL_GAMMA = 2.0


def focal_and_lovasz(
    logits_NC: Tensor,
    targets_NC: Tensor,
    *,
    focal_weight: float,
    lovasz_weight: float,
    lovasz: Literal["hinge", "symmetric"],
) -> Tensor:
    """The weighted sum: focal loss tells images apart one by one, Lovasz looks at their ranking."""
    surrogate = symmetric_lovasz if lovasz == "symmetric" else lovasz_hinge
    focal = focal_loss(logits_NC, targets_NC)
    return focal_weight * focal + lovasz_weight * surrogate(logits_NC, targets_NC)


def focal_loss(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Sum over classes and mean over images of (1 - p)^2 (-log p), p of the right answer.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), equation 4.
    """
    # -1 turns off torchvision's balance of positives and negatives, which is .25 by default.
    each_NC: Tensor = sigmoid_focal_loss(logits_NC, targets_NC, alpha=-1, gamma=FOCAL_GAMMA)
    return each_NC.sum(dim=1).mean()


def lovasz_hinge(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Mean over classes of the Lovasz extension of the Jaccard loss over the batch's images.

    For a class without a positive in the batch it is the largest hinge error of the class, which
    is what the formula says: any image that is taken costs the whole Jaccard index.

    Source: Berman et al., The Lovasz-Softmax loss (2018), section 3.1 and algorithm 1.
    """
    errors_NC = 1 - logits_NC * (2 * targets_NC - 1)
    # Stable, so that equal errors keep the order of images: equal input, equal gradient.
    falling_NC, order_NC = torch.sort(errors_NC, dim=0, descending=True, stable=True)
    steps_NC = _jaccard_steps(targets_NC.gather(0, order_NC))
    return (torch.relu(falling_NC) * steps_NC).sum(dim=0).mean()


def symmetric_lovasz(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Mean of the Lovasz hinge of the labels and that of their absence."""
    present = lovasz_hinge(logits_NC, targets_NC)
    absent = lovasz_hinge(-logits_NC, 1 - targets_NC)
    return (present + absent) / 2


def _jaccard_steps(targets_NC: Tensor) -> Tensor:
    """What each further image adds to the Jaccard loss, images sorted by falling error."""
    positives_C = targets_NC.sum(dim=0)
    intersection_NC = positives_C - targets_NC.cumsum(dim=0)
    union_NC = positives_C + (1 - targets_NC).cumsum(dim=0)
    jaccard_NC = 1 - intersection_NC / union_NC
    return torch.diff(jaccard_NC, dim=0, prepend=torch.zeros_like(jaccard_NC[:1]))
