import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.rates import adam, rate_at
from engine.settings import TrainingSettings

CONSTANT = TrainingSettings(epochs=10, batch_size=2, learning_rate=0.4)
STEPPED = replace(CONSTANT, lr_steps=((3, 0.1), (7, 0.01)))
COSINE = replace(CONSTANT, schedule="cosine")


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
def test_the_cosine_falls_to_nothing_at_the_end(progress: float, rate: float) -> None:
    assert rate_at(COSINE, progress) == pytest.approx(rate, abs=1e-15)


@pytest.mark.parametrize(("progress", "rate"), [(0, 0), (0.5, 0.1), (1.5, 0.3), (2, 0.4), (6, 0.2)])
def test_after_a_warm_up_the_cosine_has_what_is_left_of_the_epochs(
    progress: float, rate: float
) -> None:
    assert rate_at(replace(COSINE, warmup_epochs=2), progress) == pytest.approx(rate, abs=1e-15)


def test_a_warm_up_rises_before_the_constant_rate() -> None:
    warm = replace(STEPPED, warmup_epochs=0.5)
    assert [rate_at(warm, p) for p in (0, 0.125, 0.5, 3)] == pytest.approx([0, 0.1, 0.4, 0.1])


@given(
    progress=st.floats(0, 10),
    later=st.floats(0, 10),
    warmup=st.floats(0, 9),
    schedule=st.sampled_from(["constant", "cosine"]),
)
def test_a_rate_stays_within_its_bounds_rises_first_and_falls_then(
    progress: float, later: float, warmup: float, schedule: str
) -> None:
    training = replace(CONSTANT, warmup_epochs=warmup, schedule=schedule)
    progress, later = sorted((progress, later))
    rate, then = rate_at(training, progress), rate_at(training, later)
    assert 0 <= rate <= 0.4
    if later <= warmup:
        assert rate <= then + 1e-12
    if progress >= warmup:
        assert rate >= then


def test_every_parameter_is_in_one_group_with_its_share() -> None:
    module = nn.ModuleDict(
        {"trunk": nn.Linear(2, 3), "head": nn.Linear(3, 1), "class_vectors": nn.Linear(1, 5)}
    )
    optimizer = adam(module, module["trunk"], replace(CONSTANT, trunk_rate_share=0.1))
    trunk, new = optimizer.param_groups
    assert (trunk["rate_share"], new["rate_share"]) == (0.1, 1.0)
    assert {id(p) for p in trunk["params"]} == {id(p) for p in module["trunk"].parameters()}
    both = [id(p) for group in (trunk, new) for p in group["params"]]
    assert sorted(both) == sorted(id(p) for p in module.parameters())
