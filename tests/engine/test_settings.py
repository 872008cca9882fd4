from dataclasses import replace
from typing import Any

import pytest

from engine.settings import TrainingSettings, training_problems

FINE = TrainingSettings(epochs=3, batch_size=8, learning_rate=1e-3)


def test_usual_settings_have_no_problems() -> None:
    assert list(training_problems(FINE)) == []
    many = replace(
        FINE, schedule="cosine", warmup_epochs=0.5, sampler="m_per_class", trunk_rate_share=0.1,
        accumulate_batches=4, frozen_trunk_epochs=3, devices=2,
    )  # fmt: skip
    assert list(training_problems(many)) == []
    # A recipe's later steps stay when a user asks for fewer epochs.
    assert list(training_problems(replace(FINE, lr_steps=((1, 1e-4), (9, 1e-5))))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "0 epochs"),
        ({"batch_size": 1}, "batch size 1"),
        ({"accumulate_batches": 0}, "0 accumulated batches"),
        ({"learning_rate": 0.0}, "learning rate 0.0"),
        ({"learning_rate": float("nan")}, "learning rate nan"),
        ({"trunk_rate_share": 0.0}, "trunk rate share 0.0"),
        ({"trunk_rate_share": 1.5}, "trunk rate share 1.5"),
        ({"frozen_trunk_epochs": -1}, "-1 epochs with a frozen trunk"),
        ({"warmup_epochs": 3}, "warm-up over 3 of 3 epochs"),
        ({"warmup_epochs": -0.5}, "warm-up over -0.5"),
        ({"schedule": "cosine", "lr_steps": ((1, 1e-4),)}, "constant schedule, not with cosine"),
        ({"lr_steps": ((2, 1e-4), (1, 1e-5))}, "start at [2, 1]"),
        ({"lr_steps": ((1, 1e-4), (1, 1e-5))}, "start at [1, 1]"),
        ({"lr_steps": ((1, 0.0),)}, "must be above 0"),
        ({"sampler": "m_per_class", "images_per_class": 1}, "a pair needs at least 2"),
        ({"sampler": "m_per_class", "images_per_class": 5}, "holds no two classes of 5"),
        ({"seed": -1}, "seed -1"),
        ({"devices": 0}, "0 devices"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(changes: dict[str, Any], said: str) -> None:
    (problem,) = training_problems(replace(FINE, **changes))
    assert said in problem
    assert "\n" not in problem
