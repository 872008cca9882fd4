"""Check what every loss guarantees: refusals, parameters, finite gradients, precision, learning."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from atlas.core.errors import UserError
from retrieval.losses.factory import build_loss
from retrieval.settings import NAMED_LOSSES, LossName, LossSettings
from tests.retrieval.losses.made import CLASS_VECTOR_LOSSES, made_batch, vectors_of

TERMS = {
    "plain_cosine_weight": 0.5, "intra_weight": 1.0, "inter_weight": 1.0, "triplet_weight": 1.0,
}  # fmt: skip
EVERY_SETTINGS = {
    **NAMED_LOSSES,
    **{f"{n} and terms": replace(NAMED_LOSSES[n], **TERMS) for n in CLASS_VECTOR_LOSSES},
}
ELSEWHERE: dict[str, Any] = {
    "scale": 64.0, "angle_factor": 2.0, "margin_radians": 0.2, "margin_cosine": 0.2,
    "subcenters": 2, "temperature": 0.5, **TERMS,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED_LOSSES)
def test_every_named_loss_can_be_built_as_it_is_named(name: LossName) -> None:
    loss = build_loss(NAMED_LOSSES[name], classes=4, dimension=6)
    vectors = loss.class_vectors_CD
    if name not in CLASS_VECTOR_LOSSES:
        assert vectors is None
        assert not list(loss.parameters())
    else:
        assert vectors is not None
        assert vectors.shape == (12 if name == "subcenter_arcface" else 4, 6)


@pytest.mark.parametrize("name", NAMED_LOSSES)
def test_a_setting_that_the_loss_does_not_use_is_refused(name: LossName) -> None:
    usable = {
        "softmax": {*TERMS},
        "norm_softmax": {"scale", *TERMS},
        "l_softmax": {"angle_factor", *TERMS},
        "sphereface": {"scale", "angle_factor", *TERMS},
        "cosface": {"scale", "margin_cosine", *TERMS},
        "arcface": {"scale", "margin_radians", *TERMS},
        "combined_margin": {"scale", "angle_factor", "margin_radians", "margin_cosine", *TERMS},
        "subcenter_arcface": {"scale", "margin_radians", "subcenters", *TERMS},
        "triplet": {"margin_radians"},
        "multi_similarity": set[str](),
        "supervised_contrastive": {"temperature", "entropy_weight"},
    }[name]
    for option, value in ELSEWHERE.items():
        if option in usable:
            build_loss(LossSettings(name=name, **{option: value}), classes=4, dimension=6)
        else:
            with pytest.raises(UserError, match=rf"{option} belongs to .*, not to {name}"):
                LossSettings(name=name, **{option: value})


def test_a_refusal_names_the_losses_that_use_the_setting() -> None:
    with pytest.raises(
        UserError, match="margin_cosine belongs to cosface and combined_margin, not to arcface"
    ):
        LossSettings(name="arcface", margin_cosine=0.35)


def test_everything_wrong_with_a_loss_is_refused_at_once() -> None:
    with pytest.raises(
        UserError, match=r"subcenters belongs to .*; scale must be above 0 \(got 0\.0\)"
    ):
        LossSettings(name="arcface", scale=0.0, subcenters=2)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"plain_cosine_weight": 1.5}, r"plain_cosine_weight must be between 0 and 1 \(got 1\.5\)"),
        ({"margin_radians": 28.65}, r"margin_radians must be between 0 and 1\.57 \(got 28\.65\)"),
        (
            {"name": "sphereface", "angle_factor": 0.4},
            r"angle_factor must be at least 0\.5 \(got 0\.4\)",
        ),
        (
            {"name": "subcenter_arcface", "subcenters": 0},
            r"subcenters must be at least 1 \(got 0\)",
        ),
        ({"intra_weight": -1.0}, r"intra_weight must be at least 0 \(got -1\.0\)"),
        ({"margin_radians": math.nan}, r"margin_radians must .*\(got nan\)"),
        ({"scale": 0.0}, r"scale must be above 0 \(got 0\.0\)"),
        ({"triplet_margin_radians": 0.5}, "triplet_margin_radians belongs to triplet_weight"),
    ],
)
def test_a_setting_out_of_range_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        LossSettings(**given)


def test_the_inter_term_is_refused_for_a_single_class() -> None:
    with pytest.raises(UserError, match="at least two classes"):
        build_loss(LossSettings(inter_weight=1.0), classes=1, dimension=6)


@pytest.mark.parametrize("name", sorted(NAMED_LOSSES.keys() - {"supervised_contrastive"}))
def test_label_sets_are_refused_by_all_but_supervised_contrastive(name: LossName) -> None:
    loss = build_loss(NAMED_LOSSES[name], classes=5, dimension=3)
    features, classes = made_batch(0)
    with pytest.raises(UserError, match=f"{name} takes one class .* supervised_contrastive"):
        loss(features.float(), functional.one_hot(classes, 5).float())


@pytest.mark.parametrize("name", EVERY_SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_where_cosines_are_1_and_minus_1(
    name: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    loss = build_loss(EVERY_SETTINGS[name], classes=4, dimension=6).to(dtype)
    vectors = loss.class_vectors_CD
    rows = torch.randn(4, 6, dtype=dtype) if vectors is None else vectors.detach()[:4].clone()
    features = torch.cat([rows, -rows, 2 * rows]).requires_grad_()
    value = loss(features, torch.arange(4).repeat(3))
    value.backward()
    assert value.isfinite()
    for part in (features, *loss.parameters()):
        assert part.grad is not None
        assert part.grad.isfinite().all()


@pytest.mark.parametrize("name", CLASS_VECTOR_LOSSES)
def test_class_vectors_are_learnt_and_stored(name: LossName) -> None:
    torch.manual_seed(0)
    loss = build_loss(NAMED_LOSSES[name], classes=5, dimension=3)
    features, classes = made_batch(0)
    before = {key: value.clone() for key, value in loss.state_dict().items()}
    assert before.keys() == dict(loss.named_parameters()).keys()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    loss(features.float(), classes).backward()
    optimizer.step()
    assert all((before[key] != value).any() for key, value in loss.state_dict().items())
    again = build_loss(NAMED_LOSSES[name], classes=5, dimension=3)
    again.load_state_dict(loss.state_dict())
    torch.testing.assert_close(
        again(features.float(), classes), loss(features.float(), classes), rtol=0, atol=0
    )


@pytest.mark.parametrize("name", CLASS_VECTOR_LOSSES)
def test_class_vectors_start_from_the_global_seed(name: LossName) -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return vectors_of(build_loss(NAMED_LOSSES[name], classes=4, dimension=6))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("name", ["softmax", "l_softmax"])
def test_class_vectors_whose_length_counts_start_short(name: LossName) -> None:
    vectors = vectors_of(build_loss(NAMED_LOSSES[name], classes=50, dimension=64))
    assert 0.11 < vectors.abs().max() <= 1 / 8


@pytest.mark.parametrize("name", EVERY_SETTINGS)
def test_half_precision_is_cast_before_anything_is_computed(name: str) -> None:
    torch.manual_seed(0)
    loss = build_loss(EVERY_SETTINGS[name], classes=5, dimension=3)
    features, classes = made_batch(0)
    halves = features.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(halves, classes)
    assert value.dtype == torch.float32
    assert all(part.dtype == torch.float32 for part in loss.parameters())
    torch.testing.assert_close(value, loss(halves.float(), classes), rtol=0, atol=0)


@pytest.mark.parametrize("name", [*NAMED_LOSSES, "arcface and terms"])
def test_every_loss_learns_planted_classes_in_strong_noise(name: str) -> None:
    torch.manual_seed(0)
    centres, head = torch.randn(5, 8), torch.nn.Linear(16, 6)
    loss = build_loss(EVERY_SETTINGS[name], classes=5, dimension=6)
    classes = torch.arange(40) % 5

    def batch() -> torch.Tensor:
        return torch.cat([centres[classes] + 0.3 * torch.randn(40, 8), 3 * torch.randn(40, 8)], 1)

    def top1() -> float:
        first, second = (functional.normalize(head(batch()), dim=1) for _ in range(2))
        return (classes[(first @ second.T).argmax(dim=1)] == classes).float().mean().item()

    assert top1() < 0.5
    optimizer = torch.optim.Adam([*head.parameters(), *loss.parameters()], lr=0.03)
    for _ in range(120):
        optimizer.zero_grad()
        loss(head(batch()), classes).backward()
        optimizer.step()
    assert top1() > 0.8
