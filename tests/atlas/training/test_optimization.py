import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from atlas.training.optimization import build_optimizer, plateau_share, rate_at
from atlas.training.settings import TrainingSettings

TRAINING = TrainingSettings(epochs=10, batch_size=2, learning_rate=0.4)
STEPPED = replace(TRAINING, lr_steps=((3, 0.1), (7, 0.01)))
COSINE = replace(TRAINING, schedule="cosine")
ONE_CYCLE = replace(TRAINING, schedule="one_cycle")
PLATEAU = replace(TRAINING, schedule="plateau", plateau_factor=0.5, plateau_patience=2)


def test_every_parameter_is_in_one_group_with_its_share() -> None:
    module = nn.ModuleDict(
        {"backbone": nn.Linear(2, 3), "head": nn.Linear(3, 1), "class_vectors": nn.Linear(1, 5)}
    )
    optimizer = build_optimizer(
        module, module["backbone"], replace(TRAINING, backbone_rate_share=0.1)
    )
    backbone, new = optimizer.param_groups
    assert (backbone["rate_share"], new["rate_share"]) == (0.1, 1.0)
    assert {id(p) for p in backbone["params"]} == {id(p) for p in module["backbone"].parameters()}
    both = [id(p) for group in (backbone, new) for p in group["params"]]
    assert sorted(both) == sorted(id(p) for p in module.parameters())


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        # One step from 2 with a gradient of 3 at rate 0.4, computed by hand.
        ({"optimizer": "sgd"}, 2 - 0.4 * 3),
        ({"optimizer": "sgd", "weight_decay": 0.1}, 2 - 0.4 * (3 + 0.1 * 2)),
        ({"optimizer": "adam"}, 2 - 0.4),  # the first step of Adam equals the rate
        ({"optimizer": "adam", "weight_decay": 0.1}, 2 - 0.4),  # a penalty enlarges the gradient
        ({"optimizer": "adamw", "weight_decay": 0.1}, 2 * (1 - 0.4 * 0.1) - 0.4),
    ],
)
def test_first_steps_equal_those_computed_by_hand(changes: dict[str, Any], after: float) -> None:
    assert steps(1, changes)[0] == pytest.approx(after)


def test_momentum_adds_to_the_second_step() -> None:
    """The gradient of the second step is 3 + 0.9 * 3."""
    first, second = steps(2, {"optimizer": "sgd", "momentum": 0.9})
    assert first == pytest.approx(2 - 0.4 * 3)
    assert second == pytest.approx(first - 0.4 * (3 + 0.9 * 3))


def steps(count: int, changes: dict[str, Any]) -> list[float]:
    backbone = nn.Linear(1, 1, bias=False)
    nn.init.constant_(backbone.weight, 2.0)
    optimizer = build_optimizer(backbone, backbone, replace(TRAINING, **changes))
    after = []
    for _ in range(count):
        backbone.weight.grad = torch.full((1, 1), 3.0)
        optimizer.step()
        after.append(float(backbone.weight.detach()))
    return after


@pytest.mark.parametrize(
    ("progress", "rate"), [(0, 0.4), (2.99, 0.4), (3, 0.1), (6.5, 0.1), (7, 0.01), (9.9, 0.01)]
)
def test_steps_hold_from_their_epoch_on(progress: float, rate: float) -> None:
    assert rate_at(STEPPED, progress) == rate


@pytest.mark.parametrize(
    ("progress", "rate"),
    [
        (0, 0.4),
        (2.5, 0.2 * (1 + math.sqrt(0.5))),
        (5, 0.2),
        (7.5, 0.2 * (1 - math.sqrt(0.5))),
        (10, 0),
    ],
)
def test_the_cosine_falls_to_zero_at_the_end(progress: float, rate: float) -> None:
    assert rate_at(COSINE, progress) == pytest.approx(rate, abs=1e-15)


@pytest.mark.parametrize(("progress", "rate"), [(0, 0), (0.5, 0.1), (1.5, 0.3), (2, 0.4), (6, 0.2)])
def test_after_a_warm_up_the_cosine_takes_the_remaining_epochs(
    progress: float, rate: float
) -> None:
    assert rate_at(replace(COSINE, warmup_epochs=2), progress) == pytest.approx(rate, abs=1e-15)


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_each_cycle_of_the_cosine_is_a_shorter_training_of_its_own(cycles: int) -> None:
    several = replace(COSINE, epochs=12, warmup_epochs=0.0, cosine_cycles=cycles)
    short = replace(several, epochs=12 // cycles, cosine_cycles=1)
    for step in range(48):
        progress = step / 4
        expected = rate_at(short, progress % short.epochs)
        assert rate_at(several, progress) == pytest.approx(expected, abs=1e-15)
    assert rate_at(several, 12) == pytest.approx(0, abs=1e-15)


def test_a_warm_up_rises_before_the_constant_rate() -> None:
    warm = replace(STEPPED, warmup_epochs=0.5)
    assert [rate_at(warm, p) for p in (0, 0.125, 0.5, 3)] == pytest.approx([0, 0.1, 0.4, 0.1])


@given(
    progress=st.floats(0, 10),
    later=st.floats(0, 10),
    warmup=st.floats(0, 9),
    schedule=st.sampled_from(["constant", "cosine"]),
)
def test_a_rate_stays_within_its_bounds_and_rises_before_it_falls(
    progress: float, later: float, warmup: float, schedule: str
) -> None:
    training = replace(TRAINING, warmup_epochs=warmup, schedule=schedule)
    progress, later = sorted((progress, later))
    rate, then = rate_at(training, progress), rate_at(training, later)
    assert 0 <= rate <= 0.4
    if later <= warmup:
        assert rate <= then + 1e-12
    if progress >= warmup:
        assert rate >= then


def test_one_cycle_equals_that_of_torch() -> None:
    """Torch counts steps and this project counts epochs, so they agree if there are many steps."""
    total = 4000
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.4, total_steps=total, cycle_momentum=False
    )
    for step in range(total):
        rate = rate_at(ONE_CYCLE, 10 * step / (total - 1))
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-3 * 0.4)
        optimizer.step()
        if step < total - 1:
            theirs.step()


@pytest.mark.parametrize(
    ("progress", "rate"), [(0, 0.016), (1.5, 0.208), (3, 0.4), (6.5, 0.2000008), (10, 1.6e-6)]
)
def test_one_cycle_has_the_rates_computed_by_hand(progress: float, rate: float) -> None:
    """The rate rises from a 25th over 0.3 of the epochs, and falls to a 10,000th of the start."""
    assert rate_at(ONE_CYCLE, progress) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("scores", "mode", "share"),
    [
        ([], "max", 1.0),
        ([0.1, 0.2, 0.3, 0.4], "max", 1.0),
        ([0.5, 0.4, 0.5], "max", 1.0),  # the patience is two epochs
        ([0.5, 0.4, 0.5, 0.3], "max", 0.5),
        ([0.5, 0.4, 0.5, 0.3, 0.2, 0.2, 0.2], "max", 0.25),
        ([0.5, 0.4, 0.5, 0.6, 0.6, 0.6], "max", 1.0),
        ([0.5, 0.50001, 0.50002, 0.50003], "max", 0.5),  # the scores improve by too little
        ([0.4, 0.3, 0.2, 0.1], "min", 1.0),
        ([0.1, 0.2, 0.3, 0.4], "min", 0.5),
        ([float("nan")] * 4, "max", 0.5),
    ],
)
def test_a_plateau_lowers_the_rate(scores: list[float], mode: Any, share: float) -> None:
    assert plateau_share(PLATEAU, scores, mode) == share
    assert plateau_share(TRAINING, scores, mode) == 1.0
