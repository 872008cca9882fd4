"""Batches for tests of losses, and every loss that needs only a batch by its name."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from classify.losses.factory import Loss, build_loss
from classify.losses.terms import LossName, LossTerm

Batch = tuple[list[list[float]], list[list[int]]]
MOST_CLASSES = 4
WEIGHTS_C = [0.5, 1.0, 7.25, 10.0]


def loss_named(name: LossName, classes: int) -> Loss:
    """Return a loss by name; weighted_bce uses the first of WEIGHTS_C."""
    return build_loss((LossTerm(name=name),), torch.tensor(WEIGHTS_C[:classes]).double())


@st.composite
def batches(draw: st.DrawFn, limit: float = 30.0) -> Batch:
    """Draw logits and labels of 1 to 7 images in 1 to 4 classes; ties are likely."""
    images, classes = draw(st.integers(1, 7)), draw(st.integers(1, MOST_CLASSES))
    logit = st.one_of(st.floats(-limit, limit, width=32), st.integers(-3, 3).map(float))
    return (
        draw(rows_of(logit, images, classes)),
        draw(rows_of(st.integers(0, 1), images, classes)),
    )


def rows_of(
    value: st.SearchStrategy[Any], images: int, classes: int
) -> st.SearchStrategy[list[list[Any]]]:
    row = st.lists(value, min_size=classes, max_size=classes)
    return st.lists(row, min_size=images, max_size=images)


def tensors(batch: Batch, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    logits, targets = batch
    return torch.tensor(logits, dtype=dtype), torch.tensor(targets, dtype=dtype)


def value_and_gradient(loss: Loss, logits_NC: Tensor, targets_NC: Tensor) -> tuple[float, Tensor]:
    logits_NC = logits_NC.clone().requires_grad_()
    value = loss(logits_NC, targets_NC)
    (gradient_NC,) = torch.autograd.grad(value, logits_NC)
    return value.item(), gradient_NC
