"""Losses that look away from what is answered well already.

Axes: N images of a batch, C classes. Logits N x C, targets N x C of 0 and 1 and of the same type;
each loss is a scalar, a sum over classes and mean over images.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss  # type: ignore[import-untyped]

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
