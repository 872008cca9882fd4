import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from classify.losses import focal_and_lovasz, focal_loss, lovasz_hinge, symmetric_lovasz
from tests.classify import reference

SOME = settings(max_examples=40, deadline=None)  # how long one takes is no property

Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "focal_gamma2": focal_loss,
    "lovasz_hinge_per_class": lovasz_hinge,
    "symmetric_lovasz": symmetric_lovasz,
}
TWINS: dict[Loss, Callable[..., float]] = {
    focal_loss: reference.focal_loss,
    lovasz_hinge: reference.lovasz_hinge,
    symmetric_lovasz: reference.symmetric_lovasz,
}
Batch = tuple[list[list[float]], list[list[int]]]


@st.composite
def batches(draw: st.DrawFn, limit: float = 30.0) -> Batch:
    """Logits and labels of 1 to 7 images in 1 to 4 classes; ties are likely."""
    images, classes = draw(st.integers(1, 7)), draw(st.integers(1, 4))
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


@pytest.mark.real
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_reference_values(shared: Path, name: str) -> None:
    for case in json.loads((shared / "golden" / "loss_values.json").read_text())["cases"]:
        logits, targets = tensors((case["logits"], case["targets"]))
        logits.requires_grad_()
        value = LOSSES[name](logits, targets)
        value.backward()  # type: ignore[no-untyped-call]
        assert value.item() == pytest.approx(case["expected"][name]["value"], abs=1e-9, rel=0)
        assert logits.grad is not None
        norm = logits.grad.norm().item()
        assert norm == pytest.approx(case["expected"][name]["grad_l2"], abs=1e-9, rel=0)


@pytest.mark.parametrize("loss", TWINS)
@SOME
@given(batch=batches())
def test_equals_its_naive_twin(loss: Loss, batch: Batch) -> None:
    assert loss(*tensors(batch)).item() == pytest.approx(TWINS[loss](*batch), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("loss", TWINS)
@SOME
@given(batch=batches())
def test_the_order_of_images_does_not_matter(loss: Loss, batch: Batch) -> None:
    turned = (batch[0][::-1], batch[1][::-1])
    assert loss(*tensors(turned)).item() == pytest.approx(loss(*tensors(batch)).item())


@SOME
@given(batch=batches())
def test_symmetric_lovasz_does_not_care_which_answer_is_called_positive(batch: Batch) -> None:
    logits, targets = tensors(batch)
    assert symmetric_lovasz(-logits, 1 - targets).item() == symmetric_lovasz(logits, targets).item()


@pytest.mark.parametrize("loss", TWINS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_gradients_are_finite(
    loss: Loss, dtype: torch.dtype, images: int, logit: float, target: float
) -> None:
    """Also with one image, and for the second class, which has no positives."""
    logits = torch.full((images, 2), logit, dtype=dtype, requires_grad=True)
    targets = torch.tensor([[target, 0.0]] * images, dtype=dtype)
    value = loss(logits, targets)
    value.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_lovasz_of_a_class_without_positives_is_its_largest_error() -> None:
    logits = torch.tensor([[0.5], [-3.0], [2.0]])
    assert lovasz_hinge(logits, torch.zeros(3, 1)).item() == 3.0


@SOME
@given(batch=batches(), weights=st.tuples(st.floats(0, 2), st.floats(0, 2)))
def test_the_sum_weighs_its_two_losses(batch: Batch, weights: tuple[float, float]) -> None:
    for name, second in (("hinge", lovasz_hinge), ("symmetric", symmetric_lovasz)):
        total = focal_and_lovasz(
            *tensors(batch),
            focal_weight=weights[0],
            lovasz_weight=weights[1],
            lovasz=name,  # type: ignore[arg-type]
        )
        parts = (focal_loss(*tensors(batch)).item(), second(*tensors(batch)).item())
        assert total.item() == pytest.approx(weights[0] * parts[0] + weights[1] * parts[1])


@pytest.mark.parametrize("loss", TWINS)
def test_a_confident_right_answer_costs_nothing(loss: Loss) -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert loss(40 * (2 * targets - 1), targets).item() == pytest.approx(0, abs=1e-12)
