from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from atlas.training.optimization import build_optimizer
from atlas.training.settings import TrainingSettings

TRAINING = TrainingSettings(epochs=10, batch_size=2, learning_rate=0.4)


def test_every_parameter_is_in_one_group_with_its_share() -> None:
    module = nn.ModuleDict(
        {"trunk": nn.Linear(2, 3), "head": nn.Linear(3, 1), "class_vectors": nn.Linear(1, 5)}
    )
    optimizer = build_optimizer(module, module["trunk"], replace(TRAINING, trunk_rate_share=0.1))
    trunk, new = optimizer.param_groups
    assert (trunk["rate_share"], new["rate_share"]) == (0.1, 1.0)
    assert {id(p) for p in trunk["params"]} == {id(p) for p in module["trunk"].parameters()}
    both = [id(p) for group in (trunk, new) for p in group["params"]]
    assert sorted(both) == sorted(id(p) for p in module.parameters())


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        # One step from 2 with a gradient of 3 at rate .4, by hand.
        ({"optimizer": "sgd"}, 2 - 0.4 * 3),
        ({"optimizer": "sgd", "weight_decay": 0.1}, 2 - 0.4 * (3 + 0.1 * 2)),
        ({"optimizer": "adam"}, 2 - 0.4),  # the first step of Adam is the rate
        ({"optimizer": "adam", "weight_decay": 0.1}, 2 - 0.4),  # an L2 penalty: a larger gradient
        ({"optimizer": "adamw", "weight_decay": 0.1}, 2 * (1 - 0.4 * 0.1) - 0.4),
    ],
)
def test_first_steps_by_hand(changes: dict[str, Any], after: float) -> None:
    assert steps(1, changes)[0] == pytest.approx(after)


def test_momentum_carries_on() -> None:
    """The second step is of 3 + .9 * 3."""
    first, second = steps(2, {"optimizer": "sgd", "momentum": 0.9})
    assert first == pytest.approx(2 - 0.4 * 3)
    assert second == pytest.approx(first - 0.4 * (3 + 0.9 * 3))


def steps(count: int, changes: dict[str, Any]) -> list[float]:
    trunk = nn.Linear(1, 1, bias=False)
    nn.init.constant_(trunk.weight, 2.0)
    optimizer = build_optimizer(trunk, trunk, replace(TRAINING, **changes))
    after = []
    for _ in range(count):
        trunk.weight.grad = torch.full((1, 1), 3.0)
        optimizer.step()
        after.append(float(trunk.weight.detach()))
    return after
