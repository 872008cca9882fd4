"""Check losses where they may break: confident mistakes, nothing to rank, one image, 16 bits."""

import pickle

import pytest
import torch

from classify.losses.factory import build_loss
from classify.losses.terms import NAMES, LossName
from classify.settings import WINNER_LOSS
from tests.classify.losses.batches import loss_named, value_and_gradient


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_gradients_are_finite(
    name: LossName, dtype: torch.dtype, images: int, logit: float, target: float
) -> None:
    """Check one image too, and the second class, which has no positives."""
    logits = torch.full((images, 2), logit, dtype=dtype)
    targets = torch.tensor([[target, 0.0]] * images, dtype=dtype)
    value, gradient = value_and_gradient(loss_named(name, 2), logits, targets)
    assert torch.isfinite(torch.tensor(value))
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "soft_f1"])
def test_a_positive_that_is_missed_with_confidence_has_a_gradient(name: LossName) -> None:
    """Check float32, beside a negative that is correct with equal confidence."""
    logits, targets = torch.full((2, 1), -50.0), torch.tensor([[1.0], [0.0]])
    _, gradient = value_and_gradient(loss_named(name, 1), logits, targets)
    assert gradient[0, 0] < -0.01


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_mixed_precision_computes_in_32_bits(name: LossName, half: torch.dtype) -> None:
    logits = torch.linspace(-12, 12, 24).reshape(8, 3).to(half)
    targets = (torch.arange(24).reshape(8, 3) % 5 == 0).float()
    loss = loss_named(name, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(logits, targets)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, loss(logits.float(), targets))


def test_a_loss_can_be_sent_to_other_processes() -> None:
    logits, targets = torch.tensor([[0.5, -2.0]]), torch.tensor([[1.0, 0.0]])
    for loss in (build_loss(WINNER_LOSS), loss_named("weighted_bce", 2)):
        sent = pickle.loads(pickle.dumps(loss))
        assert torch.equal(sent(logits, targets), loss(logits, targets))
