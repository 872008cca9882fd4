"""Losses that measure the overlap of truth and prediction in a batch: Jaccard index and F1.

Axes: N images of a batch, C classes. Logits N x C, targets N x C of 0 and 1 and of the same type;
each loss is a scalar.

Source of the Lovasz losses: Berman et al., The Lovasz-Softmax loss (2018), section 3.1 and
algorithm 1.
"""

import torch
from torch import Tensor

EPSILON = 1e-10  # against 0 / 0 in a class that is neither carried nor predicted


def lovasz_hinge(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Mean over classes of the Lovasz extension of the Jaccard loss over the images of the batch.

    For a class without a positive in the batch it is the largest hinge error of the class, as the
    formula says: any image that is taken costs the whole Jaccard index.
    """
    errors_NC = 1 - logits_NC * (2 * targets_NC - 1)
    # Stable, so that equal errors keep the order of images: equal input, equal gradient.
    falling_NC, order_NC = torch.sort(errors_NC, dim=0, descending=True, stable=True)
    steps_NC = _jaccard_steps(targets_NC.gather(0, order_NC))
    return (torch.relu(falling_NC) * steps_NC).sum(dim=0).mean()


def lovasz_flat(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Lovasz hinge of all answers of the batch in one ranking: common labels count for more."""
    return lovasz_hinge(logits_NC.reshape(-1, 1), targets_NC.reshape(-1, 1))


def symmetric_lovasz(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Mean of the Lovasz hinge of the labels and that of their absence."""
    present = lovasz_hinge(logits_NC, targets_NC)
    absent = lovasz_hinge(-logits_NC, 1 - targets_NC)
    return (present + absent) / 2


def soft_f1(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """1 minus the mean over classes of F1, where an image counts by its probability: from 0 to 1.

    The source takes 1 minus the sum over classes, which falls to 1 - C and so depends on the
    number of classes: beside another loss one weight would mean 28 times as much with 28 classes
    as with one.

    F1 of a class without a positive in the batch is 0 with a gradient of 0, whatever is predicted.
    Gradients of probabilities near 0 and 1 vanish too, so a network that knows nothing yet learns
    little from this loss and begins better with another.

    Source: the fourth place of the Human Protein Atlas challenge of 2018.
    """
    probabilities_NC = logits_NC.sigmoid()
    hits_C = (probabilities_NC * targets_NC).sum(dim=0)
    precision_C = hits_C / (probabilities_NC.sum(dim=0) + EPSILON)
    recall_C = hits_C / (targets_NC.sum(dim=0) + EPSILON)
    f1_C = 2 * precision_C * recall_C / (precision_C + recall_C + EPSILON)
    return 1 - f1_C.mean()


def _jaccard_steps(targets_NC: Tensor) -> Tensor:
    """Return what each further image adds to the Jaccard loss, images sorted by falling error."""
    positives_C = targets_NC.sum(dim=0)
    intersection_NC = positives_C - targets_NC.cumsum(dim=0)
    union_NC = positives_C + (1 - targets_NC).cumsum(dim=0)
    jaccard_NC = 1 - intersection_NC / union_NC
    return torch.diff(jaccard_NC, dim=0, prepend=torch.zeros_like(jaccard_NC[:1]))
