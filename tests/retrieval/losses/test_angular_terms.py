"""Compare the added terms and the triplet loss with naive implementations."""

import math
from dataclasses import replace

import pytest
import torch

from retrieval.settings import NAMED_LOSSES, LossName, LossSettings
from tests.retrieval.losses import reference
from tests.retrieval.losses.made import (
    CLASS_VECTOR_LOSSES,
    made_batch,
    made_loss,
    vectors_of,
    with_vectors,
)

SEEDS = range(4)


def term(name: LossName, option: str, seed: int, weight: float = 1.0) -> float:
    """Return what an added term adds to the named loss."""
    settings = NAMED_LOSSES[name]
    features, classes = made_batch(seed)
    added = made_loss(replace(settings, **{option: weight}), seed=seed)(features, classes)
    return (added - made_loss(settings, seed=seed)(features, classes)).item()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CLASS_VECTOR_LOSSES)
def test_the_intra_term_is_the_mean_angle_to_the_own_class(name: LossName, seed: int) -> None:
    features, classes = made_batch(seed)
    vectors = vectors_of(made_loss(NAMED_LOSSES[name], seed=seed))
    subcenters = len(vectors) // 5
    expected = reference.intra(features.tolist(), vectors.tolist(), classes.tolist(), subcenters)
    assert term(name, "intra_weight", seed) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CLASS_VECTOR_LOSSES)
def test_the_inter_term_is_minus_the_mean_angle_between_classes(name: LossName, seed: int) -> None:
    _, classes = made_batch(seed)
    vectors = vectors_of(made_loss(NAMED_LOSSES[name], seed=seed))
    subcenters = len(vectors) // 5
    expected = reference.inter(vectors.tolist(), classes.tolist(), subcenters)
    assert term(name, "inter_weight", seed) == pytest.approx(expected, abs=1e-9)


def test_orthogonal_classes_are_a_quarter_rotation_apart() -> None:
    vectors, classes = torch.eye(3, dtype=torch.float64), torch.tensor([0, 1])
    features = 2 * vectors[:2]
    named = with_vectors(LossSettings(), vectors)(features, classes)
    inter = with_vectors(LossSettings(inter_weight=1.0), vectors)(features, classes)
    intra = with_vectors(LossSettings(intra_weight=1.0), vectors)(features.roll(1, 0), classes)
    wrong = with_vectors(LossSettings(), vectors)(features.roll(1, 0), classes)
    assert (inter - named).item() == pytest.approx(-0.5)
    assert (intra - wrong).item() == pytest.approx(0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_triplet_equals_its_naive_implementation_alone_and_added(seed: int) -> None:
    features, classes = made_batch(seed)
    alone = made_loss(NAMED_LOSSES["triplet"])(features, classes).item()
    expected = reference.triplet(features.tolist(), classes.tolist(), 0.35)
    assert alone == pytest.approx(expected, abs=1e-9)
    assert term("arcface", "triplet_weight", seed, 0.25) == pytest.approx(expected / 4, abs=1e-9)


def test_the_triplet_margin_is_an_angle() -> None:
    rotations = [0.0, 0.4, 1.0]  # two of one class 0.4 apart; 0.6 and 1 to one of another
    features = torch.tensor([[math.cos(t), math.sin(t)] for t in rotations], dtype=torch.float64)
    classes = torch.tensor([0, 0, 1])
    loss = made_loss(LossSettings(name="triplet", margin_radians=0.3), dimension=2)
    assert loss(features, classes).item() == pytest.approx(0.1)  # 0.4 + 0.3 - 0.6; 0.4 + 0.3 < 1
    loss = made_loss(LossSettings(name="triplet", margin_radians=0.7), dimension=2)
    assert loss(features, classes).item() == pytest.approx((0.5 + 0.1) / 2)


def test_the_plain_cosine_weight_is_a_share_of_the_whole() -> None:
    features, classes = made_batch(0)
    arcface, plain, mixed = (
        made_loss(LossSettings(margin_radians=0.5, plain_cosine_weight=share))(features, classes)
        for share in (0.0, 1.0, 0.25)
    )
    torch.testing.assert_close(mixed, 0.75 * arcface + 0.25 * plain)


def test_all_terms_add_up() -> None:
    weights = {"intra_weight": 0.5, "inter_weight": 2.0, "triplet_weight": 0.25}
    features, classes = made_batch(1)
    both = {"margin_radians": 0.5, "plain_cosine_weight": 0.5}
    whole = made_loss(LossSettings(**both, **weights), seed=1)(features, classes).item()
    parts = sum(term("arcface", option, 1, weight) for option, weight in weights.items())
    assert whole - made_loss(LossSettings(**both), seed=1)(features, classes).item() == (
        pytest.approx(parts)
    )
