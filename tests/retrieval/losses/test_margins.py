"""Compare the losses over classes with naive implementations, one another, and values by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.losses import LargeMarginSoftmaxLoss

from retrieval.losses.margins import falling_cosine
from retrieval.settings import NAMED_LOSSES, LossSettings
from tests.retrieval.losses import reference
from tests.retrieval.losses.made import made_batch, made_loss, vectors_of, with_vectors

SEEDS = range(4)
TWINS = {
    "norm_softmax": reference.combined_margin(30, 1, 0, 0),
    "sphereface": reference.combined_margin(30, 1.35, 0, 0),
    "cosface": reference.combined_margin(30, 1, 0, 0.35),
    "arcface": reference.combined_margin(30, 1, 0.5, 0),
    "combined_margin": reference.combined_margin(30, 1, 0.3, 0.2),
    "l_softmax": reference.large_margin(4),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TWINS)
def test_a_loss_over_classes_equals_its_naive_implementation(name: str, seed: int) -> None:
    loss = made_loss(NAMED_LOSSES[name], seed=seed)
    features, classes = made_batch(seed)
    expected = reference.class_loss(
        features.tolist(), vectors_of(loss).tolist(), classes.tolist(), TWINS[name]
    )
    assert loss(features, classes).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_three_margins_at_once_equal_their_naive_implementation(seed: int) -> None:
    settings = replace(NAMED_LOSSES["combined_margin"], angle_factor=1.9, scale=12.0)
    loss = made_loss(settings, seed=seed)
    features, classes = made_batch(seed)
    naive = reference.combined_margin(12, 1.9, 0.3, 0.2)
    expected = reference.class_loss(
        features.tolist(), vectors_of(loss).tolist(), classes.tolist(), naive
    )
    assert loss(features, classes).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_equals_its_naive_implementation_on_raw_features_with_bias(seed: int) -> None:
    loss = made_loss(NAMED_LOSSES["softmax"], seed=seed)
    features, classes = made_batch(seed)
    biases = dict(loss.named_parameters())["named.linear.bias"].tolist()
    vectors = [[*v, bias] for v, bias in zip(vectors_of(loss).tolist(), biases, strict=True)]
    expected = reference.class_loss(
        [[*feature, 1.0] for feature in features.tolist()],
        vectors,
        classes.tolist(),
        lambda a, b, _: sum(x * y for x, y in zip(a, b, strict=True)),
    )
    assert loss(features, classes).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_subcenter_arcface_is_arcface_on_the_nearest_subcenters(seed: int) -> None:
    loss = made_loss(NAMED_LOSSES["subcenter_arcface"], seed=seed)
    features, classes = made_batch(seed)
    rows, vectors = features.tolist(), vectors_of(loss).tolist()
    costs = [
        reference.class_loss(
            [row], reference.nearest_subcenters(row, vectors, 3), [own], TWINS["arcface"]
        )
        for row, own in zip(rows, classes.tolist(), strict=True)
    ]
    assert loss(features, classes).item() == pytest.approx(reference.mean(costs), rel=1e-9)


@pytest.mark.parametrize("name", ["norm_softmax", "sphereface", "cosface", "arcface"])
def test_combined_margin_with_one_margin_is_the_loss_of_that_margin(name: str) -> None:
    features, classes = made_batch(1, images=200)
    alone = made_loss(NAMED_LOSSES[name])(features, classes)
    combined = made_loss(replace(NAMED_LOSSES[name], name="combined_margin"))(features, classes)
    torch.testing.assert_close(combined, alone, rtol=1e-12, atol=0)


def test_subcenter_arcface_of_one_subcenter_is_arcface() -> None:
    features, classes = made_batch(2)
    settings = replace(NAMED_LOSSES["subcenter_arcface"], subcenters=1)
    torch.testing.assert_close(
        made_loss(settings)(features, classes),
        made_loss(NAMED_LOSSES["arcface"])(features, classes),
    )


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_l_softmax_equals_the_librarys_for_a_whole_factor() -> None:
    loss, library = made_loss(NAMED_LOSSES["l_softmax"]), LargeMarginSoftmaxLoss(5, 3, margin=4)
    library.W.data = vectors_of(loss).detach().T.clone()
    features, classes = made_batch(3)
    torch.testing.assert_close(loss(features, classes), library(features, classes))


@pytest.mark.parametrize("name", ["softmax", "l_softmax"])
def test_the_length_of_features_counts_only_where_the_paper_uses_it(name: str) -> None:
    features, classes = made_batch(4)
    for each in [name, *TWINS.keys() - {"l_softmax"}]:
        loss = made_loss(NAMED_LOSSES[each])
        values = loss(features, classes), loss(3 * features, classes)
        assert torch.isclose(*values) == (each != name)


def test_half_a_radian_of_margin_costs_as_much_as_28_65_degrees() -> None:
    vectors = torch.tensor([[1.0, 0, 0], [0, 0, 1]], dtype=torch.float64)
    classes = torch.tensor([0])

    def at(degrees: float) -> torch.Tensor:
        rotation = math.radians(degrees)
        return torch.tensor([[math.cos(rotation), math.sin(rotation), 0]], dtype=torch.float64)

    with_margin = with_vectors(NAMED_LOSSES["arcface"], vectors)(at(60), classes)
    without = with_vectors(NAMED_LOSSES["norm_softmax"], vectors)
    torch.testing.assert_close(with_margin, without(at(60 + 28.64788975654116), classes))
    # log(1 + exp(-30 c)) with c = cos(60 degrees + 0.5 rad) = 0.5 * 0.877583 - 0.866025 * 0.479426
    assert with_margin.item() == pytest.approx(math.log1p(math.exp(-30 * 0.0235966)), abs=1e-4)


@given(
    st.floats(1, 5), st.floats(0, math.pi / 2), st.floats(0, 1),
    st.lists(st.floats(0, math.pi), min_size=2, max_size=2, unique=True),
)  # fmt: skip
def test_the_true_logit_never_rises_with_the_angle(
    m1: float, m2: float, m3: float, rotations: list[float]
) -> None:
    settings = LossSettings(
        name="combined_margin", angle_factor=m1, margin_radians=m2, margin_cosine=m3, scale=1.0
    )
    vectors = torch.tensor([[1.0, 0, 0], [0, 0, 1]], dtype=torch.float64)
    loss = with_vectors(settings, vectors)
    near, far = (
        loss(torch.tensor([[math.cos(t), math.sin(t), 0]]).double(), torch.tensor([0])).item()
        for t in sorted(rotations)
    )
    assert near <= far + 1e-7


def test_the_falling_cosine_continues_below_minus_1_without_a_jump() -> None:
    quarters = torch.arange(9, dtype=torch.float64) * math.pi / 2
    expected = torch.tensor([1.0, 0, -1, -2, -3, -4, -5, -6, -7], dtype=torch.float64)
    torch.testing.assert_close(falling_cosine(quarters), expected)
    torch.testing.assert_close(falling_cosine(quarters - 1e-9), expected, atol=1e-8, rtol=0)


@pytest.mark.real
@pytest.mark.parametrize("case", [0, 1])
def test_losses_equal_the_reference_values(shared: Path, case: int) -> None:
    golden = json.loads((shared / "golden" / "loss_values.json").read_text())["cases"][case]
    embeddings = torch.tensor(golden["embeddings"], dtype=torch.float64)
    vectors = torch.tensor(golden["class_weights"], dtype=torch.float64)
    labels = torch.tensor(golden["class_labels"])
    expected = golden["expected"]["arcface_s30_m0.5"]
    for share, name in ((0.0, "arcface"), (0.5, "winner_mean_of_both"), (1.0, "plain_cosine_ce")):
        loss = with_vectors(LossSettings(margin_radians=0.5, plain_cosine_weight=share), vectors)
        assert loss(embeddings, labels).item() == pytest.approx(expected[name], abs=1e-9)
