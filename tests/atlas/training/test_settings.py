from dataclasses import replace
from typing import Any

import pytest

from atlas.training.settings import TrainingSettings, training_problems

FINE = TrainingSettings(epochs=3, batch_size=8, learning_rate=1e-3)


def test_usual_settings_have_no_problems() -> None:
    assert list(training_problems(FINE)) == []
    many = replace(
        FINE, schedule="cosine", warmup_epochs=0.5, sampler="m_per_class", backbone_rate_share=0.1,
        accumulate_batches=4, frozen_backbone_epochs=3, devices=2, clip_gradient_norm=1.0,
    )  # fmt: skip
    assert list(training_problems(many)) == []
    averaged = replace(FINE, optimizer="sgd", momentum=0.9, weight_decay=1e-4, crop_px=64)
    assert list(training_problems(replace(averaged, averaged_checkpoints=3))) == []
    plateau = replace(averaged, schedule="plateau", plateau_factor=0.5, plateau_patience=2)
    assert list(training_problems(replace(plateau, ema_decay=0.999, warmup_epochs=1))) == []
    # Later steps of a recipe are allowed when a user asks for fewer epochs.
    assert list(training_problems(replace(FINE, lr_steps=((1, 1e-4), (9, 1e-5))))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "epochs must be at least 1 (got 0)"),
        ({"batch_size": 1}, "batch size must be at least 2, which BatchNorm needs (got 1)"),
        ({"accumulate_batches": 0}, "accumulated batches must be at least 1 (got 0)"),
        ({"clip_gradient_norm": 0.0}, "gradients are clipped must be above 0 (got 0.0)"),
        ({"clip_gradient_norm": float("nan")}, "must be above 0 (got nan)"),
        ({"learning_rate": 0.0}, "learning rate must be above 0 (got 0.0)"),
        ({"learning_rate": float("nan")}, "learning rate must be above 0 (got nan)"),
        ({"backbone_rate_share": 0.0}, "rate share must be above 0 and at most 1 (got 0.0)"),
        ({"backbone_rate_share": 1.5}, "rate share must be above 0 and at most 1 (got 1.5)"),
        ({"frozen_backbone_epochs": -1}, "with a frozen backbone must not be negative (got -1)"),
        ({"warmup_epochs": 3}, "warm-up must be from 0 to below 3 epochs (got 3)"),
        ({"warmup_epochs": -0.5}, "warm-up must be from 0 to below 3 epochs (got -0.5)"),
        ({"schedule": "cosine", "lr_steps": ((1, 1e-4),)}, "constant schedule (got cosine)"),
        ({"lr_steps": ((2, 1e-4), (1, 1e-5))}, "rising epochs from 0 on (got [2, 1])"),
        ({"lr_steps": ((1, 1e-4), (1, 1e-5))}, "rising epochs from 0 on (got [1, 1])"),
        ({"lr_steps": ((1, 0.0),)}, "must be above 0"),
        ({"sampler": "m_per_class", "images_per_class": 1}, "must be at least 2 (got 1)"),
        ({"sampler": "m_per_class", "images_per_class": 5}, "two classes of 5 images (got 8)"),
        ({"weight_decay": -0.1}, "weight decay must not be negative (got -0.1)"),
        ({"optimizer": "sgd", "momentum": 1.0}, "at least 0 and below 1 (got 1.0)"),
        ({"momentum": 0.9}, "momentum is an option of sgd; adam has its own"),
        ({"optimizer": "adamw", "momentum": 0.9}, "adamw has its own"),
        ({"schedule": "one_cycle", "warmup_epochs": 1}, "leave out the warm-up"),
        ({"schedule": "one_cycle", "lr_steps": ((1, 1e-4),)}, "schedule (got one_cycle)"),
        ({"schedule": "plateau", "plateau_factor": 1.0}, "between 0 and 1 (got 1.0)"),
        ({"schedule": "plateau", "plateau_patience": -1}, "must not be negative (got -1)"),
        ({"schedule": "cosine", "plateau_patience": 3}, "need schedule plateau (got cosine)"),
        ({"schedule": "cosine", "cosine_cycles": 0}, "at least 1 and at most the number of epochs"),
        ({"schedule": "cosine", "cosine_cycles": 4}, "number of epochs, 3 (got 4)"),
        ({"cosine_cycles": 2}, "need schedule cosine (got constant)"),
        ({"crop_px": 0}, "crops of 0 px: must be at least 32 px"),
        ({"ema_decay": 1.0}, "EMA decay must be at least 0 and below 1 (got 1.0)"),
        ({"averaged_checkpoints": -1}, "checkpoints must not be negative (got -1)"),
        ({"averaged_checkpoints": 2, "ema_decay": 0.9}, "choose one of them"),
        ({"averaged_checkpoints": 4}, "must be at most 3"),
        ({"averaged_checkpoints": 2, "frozen_backbone_epochs": 2}, "must be at most 1"),
        ({"averaged_checkpoints": 1, "frozen_backbone_epochs": 9}, "must be at most 0"),
        ({"seed": -1}, "seed must not be negative (got -1)"),
        ({"devices": 0}, "devices must be at least 1 (got 0)"),
    ],
)
def test_each_invalid_setting_is_reported_in_one_line(changes: dict[str, Any], said: str) -> None:
    (problem,) = training_problems(replace(FINE, **changes))
    assert said in problem
    assert "\n" not in problem
