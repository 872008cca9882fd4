import json
from pathlib import Path

import pytest
import torch

from atlas.errors import UserError
from retrieval.losses import MetricLoss


def metric_loss(
    plain_cosine_weight: float = 0.0, classes: int = 3, dimension: int = 8
) -> MetricLoss:
    torch.manual_seed(0)
    return MetricLoss(
        classes=classes,
        dimension=dimension,
        scale=30.0,
        margin_radians=0.5,
        plain_cosine_weight=plain_cosine_weight,
    )


@pytest.mark.real
@pytest.mark.parametrize("case", [0, 1])
def test_losses_equal_the_reference_values(shared: Path, case: int) -> None:
    golden = json.loads((shared / "golden" / "loss_values.json").read_text())["cases"][case]
    embeddings = torch.tensor(golden["embeddings"], dtype=torch.float64)
    weights = torch.tensor(golden["class_weights"], dtype=torch.float64)
    labels = torch.tensor(golden["class_labels"])
    expected = golden["expected"]["arcface_s30_m0.5"]
    for share, name in ((0.0, "arcface"), (0.5, "winner_mean_of_both"), (1.0, "plain_cosine_ce")):
        loss = metric_loss(share, *weights.shape)
        loss.arcface.W = torch.nn.Parameter(weights.T.clone())
        assert loss(embeddings, labels).item() == pytest.approx(expected[name], abs=1e-9)


def test_the_weight_mixes_the_two_terms() -> None:
    embeddings, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    arcface, plain, half = (metric_loss(w)(embeddings, labels) for w in (0.0, 1.0, 0.5))
    torch.testing.assert_close(half, (arcface + plain) / 2)


def test_class_vectors_are_parameters_and_learn() -> None:
    loss = metric_loss(0.5)
    (vectors,) = loss.parameters()
    loss(torch.randn(4, 8), torch.tensor([0, 1, 2, 0])).backward()
    assert vectors.shape == (8, 3)
    assert vectors.grad is not None
    assert vectors.grad.abs().sum() > 0


def test_half_precision_leaves_the_class_vectors_whole() -> None:
    loss = metric_loss()
    value = loss(torch.randn(4, 8).to(torch.bfloat16), torch.tensor([0, 1, 2, 0]))
    assert value.dtype == loss.arcface.W.dtype == torch.float32


def test_a_share_beyond_1_is_refused() -> None:
    with pytest.raises(UserError, match="plain_cosine_weight"):
        metric_loss(1.5)
