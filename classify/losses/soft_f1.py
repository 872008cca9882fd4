"""Macro F1 of probabilities. Axes: N images of a batch, C classes."""

from torch import Tensor

EPSILON = 1e-10  # against 0 / 0 in a class that is neither carried nor predicted


def soft_f1(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """1 - the mean over classes of F1 where an image counts by its probability: from 0 to 1.

    The source takes 1 - the sum over classes, which falls to 1 - C: unbounded, for C is the
    atlas's. Beside another loss one weight would mean 28 times as much with 28 classes as with
    one, and a loss of -5 says nothing by itself.

    F1 of a class without a positive in the batch is 0, whatever is predicted, with a gradient of 0.
    So are gradients of probabilities near 0 and 1: a network that knows nothing yet learns little
    from it, and begins better with another loss.

    Source: the fourth place of the Human Protein Atlas challenge of 2018.
    """
    probabilities_NC = logits_NC.sigmoid()
    hits_C = (probabilities_NC * targets_NC).sum(dim=0)
    precision_C = hits_C / (probabilities_NC.sum(dim=0) + EPSILON)
    recall_C = hits_C / (targets_NC.sum(dim=0) + EPSILON)
    f1_C = 2 * precision_C * recall_C / (precision_C + recall_C + EPSILON)
    return 1 - f1_C.mean()
