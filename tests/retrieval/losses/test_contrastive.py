"""Compare the losses over pairs with naive implementations, the library's, and values by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss
from torch.nn import functional

from retrieval.losses.contrastive import LEAST_DISTANCE, entropy_term
from retrieval.settings import NAMED_LOSSES, LossSettings
from tests.retrieval.losses import reference
from tests.retrieval.losses.made import CLASSES, made_batch, made_loss

SEEDS = range(4)
CONTRASTIVE = NAMED_LOSSES["supervised_contrastive"]


@pytest.mark.parametrize("seed", SEEDS)
def test_multi_similarity_equals_its_naive_implementation(seed: int) -> None:
    features, classes = made_batch(seed)
    expected = reference.multi_similarity(features.tolist(), classes.tolist())
    loss = made_loss(NAMED_LOSSES["multi_similarity"])
    assert loss(features, classes).item() == pytest.approx(expected, rel=1e-9)


@given(
    st.integers(0, 1000),
    st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=9),
    st.sampled_from([0.1, 0.5]),
)
def test_label_sets_are_weighted_as_in_the_naive_implementation(
    seed: int, label_sets: list[set[int]], temperature: float
) -> None:
    features, _ = made_batch(seed, images=len(label_sets))
    labels = torch.tensor([[float(label in held) for label in range(4)] for held in label_sets])
    loss = made_loss(LossSettings(name="supervised_contrastive", temperature=temperature))
    expected = reference.supervised_contrastive(features.tolist(), label_sets, temperature)
    assert loss(features, labels).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_classes_and_single_labels_equal_the_librarys_loss(seed: int) -> None:
    features, classes = made_batch(seed)
    loss = made_loss(CONTRASTIVE)
    expected = SupConLoss(temperature=0.1)(features, classes)
    torch.testing.assert_close(loss(features, classes), expected)
    one_each = functional.one_hot(classes, CLASSES).float()
    torch.testing.assert_close(loss(features, one_each), expected)


def test_images_that_share_half_of_their_labels_have_half_the_weight() -> None:
    # The first has both labels, the others one each: weights 1/2, 1/2 for it and 1/2 for them.
    rotations = [0.0, math.pi / 2, math.pi]
    features = torch.tensor([[math.cos(t), math.sin(t)] for t in rotations], dtype=torch.float64)
    labels = torch.tensor([[1.0, 1], [1, 0], [0, 1]])
    loss = made_loss(LossSettings(name="supervised_contrastive", temperature=1.0), dimension=2)
    # Cosines: first with second 0, first with third -1, second with third 0.
    first = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    expected = (first + math.log(2) + math.log(1 + math.exp(1))) / 3
    assert loss(features, labels).item() == pytest.approx(expected)


def test_more_shared_labels_pull_harder() -> None:
    features = torch.eye(3, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([[1.0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1]])
    made_loss(CONTRASTIVE)(features, labels).backward()
    assert features.grad is not None
    towards_second, towards_third = -features.grad[0, 1:]
    assert towards_second > towards_third


def test_images_without_a_positive_contribute_nothing() -> None:
    features, _ = made_batch(0, images=4)
    labels = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    loss = made_loss(CONTRASTIVE)
    rows = torch.cosine_similarity(features[:2, None], features[None], dim=2) / 0.1
    itself = torch.eye(2, 4, dtype=torch.bool)
    logs = torch.log_softmax(rows.masked_fill(itself, -torch.inf), dim=1)
    torch.testing.assert_close(loss(features, labels), -(logs[0, 1] + logs[1, 0]) / 2)


@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("name", ["supervised_contrastive", "triplet", "multi_similarity"])
def test_a_batch_without_a_positive_costs_nothing_and_can_be_stepped(
    name: str, images: int
) -> None:
    features, _ = made_batch(0, images=images)
    features.requires_grad_()
    loss = made_loss(NAMED_LOSSES[name])(features, torch.arange(images))
    assert loss.requires_grad
    assert loss.item() == 0
    loss.backward()
    torch.testing.assert_close(features.grad, torch.zeros_like(features))


@given(st.integers(0, 1000), st.integers(2, 9))
def test_the_entropy_term_is_the_mean_log_distance_to_the_nearest_other_class(
    seed: int, images: int
) -> None:
    features, _ = made_batch(seed, images=images)
    unit = functional.normalize(features, dim=1)
    classes = [n // 2 for n in range(images)]
    same = torch.tensor([[one == other for other in classes] for one in classes])
    logs = []
    for one in range(images):
        others = [n for n in range(images) if classes[n] != classes[one]]
        if others:
            nearest = min(math.dist(unit[one].tolist(), unit[n].tolist()) for n in others)
            logs.append(-math.log(nearest + LEAST_DISTANCE))
    expected = sum(logs) / len(logs) if logs else 0.0
    assert entropy_term(unit, same).item() == pytest.approx(expected, abs=1e-6)


def test_the_entropy_term_pushes_images_of_different_classes_apart() -> None:
    weighted = LossSettings(name="supervised_contrastive", temperature=1.0, entropy_weight=5.0)
    near = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.99, 0.1]], dtype=torch.float64)
    features = near.clone().requires_grad_()
    loss = made_loss(weighted, dimension=2)(features, torch.tensor([0, 0, 1]))
    loss.backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    moved = near - 0.01 * features.grad
    cosine = functional.cosine_similarity
    assert cosine(moved[0], moved[2], dim=0) < cosine(near[0], near[2], dim=0)
