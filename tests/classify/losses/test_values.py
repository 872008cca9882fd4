import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from timm.loss import AsymmetricLossMultiLabel

from classify.losses.cross_entropy import asymmetric, hard_negative_bce, positive_weights
from classify.losses.factory import build_loss
from classify.losses.overlap import lovasz_flat, lovasz_hinge, soft_f1, symmetric_lovasz
from classify.losses.terms import NAMES, LossName, LossTerm
from classify.settings import WINNER_LOSS
from tests.classify import reference
from tests.classify.losses.batches import (
    WEIGHTS_C,
    Batch,
    batches,
    loss_named,
    tensors,
    value_and_gradient,
)

SOME = settings(max_examples=40)
EXACT = {"abs": 1e-9, "rel": 0.0}

TWINS: dict[LossName, Callable[..., float]] = {
    "bce": reference.bce,
    "focal": reference.focal_loss,
    "lovasz_hinge": reference.lovasz_hinge,
    "lovasz_flat": reference.lovasz_flat,
    "symmetric_lovasz": reference.symmetric_lovasz,
    "hard_negative_bce": reference.hard_negative_bce,
    "soft_f1": reference.soft_f1,
    "multilabel_soft_margin": reference.multilabel_soft_margin,
    "asymmetric": reference.asymmetric,
}
GOLDEN_NAMES: dict[LossName, str] = {
    "focal": "focal_gamma2",
    "lovasz_hinge": "lovasz_hinge_per_class",
    "symmetric_lovasz": "symmetric_lovasz",
    "hard_negative_bce": "hard_negative_bce",
}
# Its gradient vanishes for certain answers, and a class without positives always costs 1.
NOT_F1 = [name for name in NAMES if name != "soft_f1"]


def golden_cases(shared: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((shared / "golden" / "loss_values.json").read_text())[
        "cases"
    ]
    return cases


@pytest.mark.real
@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_equals_the_reference_values_and_gradients(shared: Path, name: LossName) -> None:
    for case in golden_cases(shared):
        expected = case["expected"][GOLDEN_NAMES[name]]
        logits, targets = tensors((case["logits"], case["targets"]))
        value, gradient = value_and_gradient(build_loss((LossTerm(name=name),)), logits, targets)
        assert value == pytest.approx(expected["value"], **EXACT)
        assert gradient.norm().item() == pytest.approx(expected["grad_l2"], **EXACT)


@pytest.mark.real
def test_the_winners_sum_equals_its_reference_value(shared: Path) -> None:
    for case in golden_cases(shared):
        value = build_loss(WINNER_LOSS)(*tensors((case["logits"], case["targets"]))).item()
        assert value == pytest.approx(case["expected"]["winner_sum_half_each"]["value"], **EXACT)


@pytest.mark.real
def test_soft_f1_differs_from_the_references_sum_by_the_number_of_classes(shared: Path) -> None:
    for case in golden_cases(shared):
        expected, classes = case["expected"]["soft_f1"], len(case["logits"][0])
        value = soft_f1(*tensors((case["logits"], case["targets"]))).item()
        assert value == pytest.approx(expected["one_minus_mean"], **EXACT)
        assert 1 - classes * (1 - value) == pytest.approx(
            expected["one_minus_sum_as_in_seed"], **EXACT
        )


@pytest.mark.parametrize("name", TWINS)
@SOME
@given(batch=batches())
def test_equals_its_naive_implementation(name: LossName, batch: Batch) -> None:
    value = loss_named(name, len(batch[0][0]))(*tensors(batch)).item()
    assert value == pytest.approx(TWINS[name](*batch), rel=1e-9, abs=1e-9)


@SOME
@given(batch=batches())
def test_weighted_bce_equals_its_naive_implementation(batch: Batch) -> None:
    classes = len(batch[0][0])
    value = loss_named("weighted_bce", classes)(*tensors(batch)).item()
    expected = reference.weighted_bce(*batch, WEIGHTS_C[:classes])
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_weights_from_counts_are_negatives_over_positives() -> None:
    """Check 3 positives of 4, none, and all; at least one of either kind is assumed."""
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    assert positive_weights("counts", targets).tolist() == [1 / 3, 4.0, 1 / 4]
    assert positive_weights(10, targets).tolist() == [10.0, 10.0, 10.0]


def test_weights_from_counts_give_positives_the_weight_of_negatives() -> None:
    targets = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    loss = build_loss((LossTerm(name="weighted_bce"),), positive_weights("counts", targets))
    _, gradient = value_and_gradient(loss, torch.zeros(4, 1), targets)
    assert gradient.sum().item() == pytest.approx(0)


@pytest.mark.parametrize("name", NAMES)
@SOME
@given(batch=batches())
def test_the_order_of_images_does_not_matter(name: LossName, batch: Batch) -> None:
    loss = loss_named(name, len(batch[0][0]))
    rotated = (batch[0][::-1], batch[1][::-1])
    assert loss(*tensors(rotated)).item() == pytest.approx(loss(*tensors(batch)).item())


@pytest.mark.parametrize("name", NOT_F1)
def test_a_confident_right_answer_costs_nothing(name: LossName) -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    loss = loss_named(name, 2)
    assert loss(40 * (2 * targets - 1), targets).item() == pytest.approx(0, abs=1e-12)


@SOME
@given(batch=batches())
def test_symmetric_lovasz_does_not_depend_on_which_answer_is_positive(batch: Batch) -> None:
    logits, targets = tensors(batch)
    assert symmetric_lovasz(-logits, 1 - targets).item() == symmetric_lovasz(logits, targets).item()


def test_lovasz_of_a_class_without_positives_is_its_largest_error() -> None:
    logits = torch.tensor([[0.5], [-3.0], [2.0]])
    assert lovasz_hinge(logits, torch.zeros(3, 1)).item() == 3.0


def test_flat_lovasz_ranks_all_classes_together() -> None:
    """Work out errors 3 (a negative) and 1 (the positive) by hand.

    By class they are 3 and 1, mean 2. Together the negative comes first and halves the Jaccard
    index, and the positive takes the rest: 3/2 + 1/2.
    """
    logits, targets = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert lovasz_flat(logits, targets).item() == 2.0
    more = (torch.tensor([[2.0, 4.0]]), targets)
    assert lovasz_flat(*more).item() == 1.5  # the positive is right, its half is not counted
    assert lovasz_hinge(*more).item() == 1.5
    negatives = (torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    assert lovasz_flat(*negatives).item() == 3.0  # the largest error of all
    assert lovasz_hinge(*negatives).item() == 2.0  # the mean of the classes' largest


def test_easy_negatives_are_left_out() -> None:
    """Check 10 negatives without a positive: 5 count, which is min(10, 0 + 5, 7 + 2)."""
    logits = torch.arange(10.0)[:, None]
    _, gradient = value_and_gradient(hard_negative_bce, logits, torch.zeros(10, 1))
    assert (gradient[:, 0] != 0).tolist() == [False] * 5 + [True] * 5


def test_hard_negatives_round_as_the_definition_does() -> None:
    """Check 90 negatives and 40 positives: 64 count, because 0.7 * 90 is 62.99..., rounded down."""
    logits = torch.linspace(-3, 3, 130)[:, None]
    targets = (torch.arange(130) < 40).float()[:, None]
    _, gradient = value_and_gradient(hard_negative_bce, logits, targets)
    assert (gradient[40:] != 0).sum() == 64


@SOME
@given(batch=batches(limit=500.0))
def test_soft_f1_lies_between_0_and_1(batch: Batch) -> None:
    assert -1e-12 <= soft_f1(*tensors(batch)).item() <= 1


def test_soft_f1_of_certain_answers_is_one_minus_macro_f1() -> None:
    """Check three classes.

    Class 0 has one hit and one false alarm, F1 2/3; class 1 is right, F1 1; class 2 has no
    positive, F1 0.
    """
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    logits = torch.tensor([[60.0, 60.0, -60.0], [60.0, -60.0, -60.0]], dtype=torch.float64)
    assert soft_f1(logits, targets).item() == pytest.approx(1 - (2 / 3 + 1 + 0) / 3)


@SOME
@given(batch=batches(limit=15.0))
def test_asymmetric_equals_timms_loss_where_that_is_not_clamped(batch: Batch) -> None:
    loss = AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=0, clip=0.05)
    # Row by row, because timm has added up the rows of a batch in some versions and averaged them
    # in others.
    rows = zip(*(part.split(1) for part in tensors(batch)), strict=True)
    theirs = torch.stack([loss(*row) for row in rows]).mean().item()
    assert asymmetric(*tensors(batch)).item() == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def test_asymmetric_ignores_a_negative_up_to_the_shift() -> None:
    below, above = torch.tensor([[0.049]]).logit(), torch.tensor([[0.2]]).logit()
    negative = torch.zeros(1, 1)
    assert asymmetric(below, negative).item() == 0
    assert 0 < asymmetric(above, negative).item() < loss_named("focal", 1)(above, negative).item()
