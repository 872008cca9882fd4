"""Losses that measure the overlap of labels and predictions in a batch: Jaccard index and F1.

Logits are N x C; targets are 0 or 1, N x C, with the same type. Each loss is a scalar.

Source of the Lovasz losses: Berman et al., The Lovasz-Softmax loss (2018), section 3.1 and
algorithm 1.

Axes: N images of a batch, C classes.
"""

import torch
from torch import Tensor

EPSILON = 1e-10  # avoids 0 / 0 in a class that is neither carried nor predicted


def lovasz_hinge(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return the mean over classes of the Lovasz extension of the Jaccard loss.

    The Jaccard loss of a class is taken over the images of the batch. For a class without a
    positive in the batch, the loss is the largest hinge error of the class, as follows from the
    formula: any accepted image costs the whole Jaccard index.
    """
    errors_NC = 1 - logits_NC * (2 * targets_NC - 1)
    # A stable sort keeps the image order of equal errors, so equal inputs give equal gradients.
    falling_NC, order_NC = torch.sort(errors_NC, dim=0, descending=True, stable=True)
    steps_NC = _jaccard_steps(targets_NC.gather(0, order_NC))
    return (torch.relu(falling_NC) * steps_NC).sum(dim=0).mean()


def lovasz_flat(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return the Lovasz hinge of all classes in one ranking; common labels have more weight."""
    return lovasz_hinge(logits_NC.reshape(-1, 1), targets_NC.reshape(-1, 1))


def symmetric_lovasz(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return the mean of the Lovasz hinge of the labels and of their absence."""
    present = lovasz_hinge(logits_NC, targets_NC)
    absent = lovasz_hinge(-logits_NC, 1 - targets_NC)
    return (present + absent) / 2


def soft_f1(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Return 1 minus the mean over classes of a differentiable F1, in 0..1.

    Images are counted by their probabilities. The source uses 1 minus the sum over classes, which
    falls to 1 - C and so depends on the number of classes: beside another loss, the same weight
    would mean 28 times as much with 28 classes as with one.

    The F1 of a class without a positive in the batch is 0 with a gradient of 0. Gradients of
    probabilities near 0 and 1 vanish too, so an untrained network learns little from this loss and
    should start with another.

    Source: the fourth place of the Human Protein Atlas challenge of 2018.
    """
    probabilities_NC = logits_NC.sigmoid()
    hits_C = (probabilities_NC * targets_NC).sum(dim=0)
    precision_C = hits_C / (probabilities_NC.sum(dim=0) + EPSILON)
    recall_C = hits_C / (targets_NC.sum(dim=0) + EPSILON)
    f1_C = 2 * precision_C * recall_C / (precision_C + recall_C + EPSILON)
    return 1 - f1_C.mean()


def _jaccard_steps(targets_NC: Tensor) -> Tensor:
    """Return what each image adds to the Jaccard loss, with images sorted by falling error."""
    positives_C = targets_NC.sum(dim=0)
    intersection_NC = positives_C - targets_NC.cumsum(dim=0)
    union_NC = positives_C + (1 - targets_NC).cumsum(dim=0)
    jaccard_NC = 1 - intersection_NC / union_NC
    return torch.diff(jaccard_NC, dim=0, prepend=torch.zeros_like(jaccard_NC[:1]))
