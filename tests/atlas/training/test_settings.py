from dataclasses import replace
from typing import Any

import pytest

from atlas.training.settings import TrainingSettings, training_problems

FINE = TrainingSettings(epochs=3, batch_size=8, learning_rate=1e-3)


def test_usual_settings_have_no_problems() -> None:
    assert list(training_problems(FINE)) == []
    many = replace(
        FINE, schedule="cosine", warmup_epochs=0.5, sampler="m_per_class", backbone_rate_share=0.1,
        accumulate_batches=4, frozen_backbone_epochs=3, devices=2,
    )  # fmt: skip
    assert list(training_problems(many)) == []
    averaged = replace(FINE, optimizer="sgd", momentum=0.9, weight_decay=1e-4, crop_px=64)
    assert list(training_problems(replace(averaged, averaged_checkpoints=3))) == []
    plateau = replace(averaged, schedule="plateau", plateau_factor=0.5, plateau_patience=2)
    assert list(training_problems(replace(plateau, ema_decay=0.999, warmup_epochs=1))) == []
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
        ({"backbone_rate_share": 0.0}, "backbone rate share 0.0"),
        ({"backbone_rate_share": 1.5}, "backbone rate share 1.5"),
        ({"frozen_backbone_epochs": -1}, "-1 epochs with a frozen backbone"),
        ({"warmup_epochs": 3}, "warm-up over 3 of 3 epochs"),
        ({"warmup_epochs": -0.5}, "warm-up over -0.5"),
        ({"schedule": "cosine", "lr_steps": ((1, 1e-4),)}, "constant schedule, not with cosine"),
        ({"lr_steps": ((2, 1e-4), (1, 1e-5))}, "start at [2, 1]"),
        ({"lr_steps": ((1, 1e-4), (1, 1e-5))}, "start at [1, 1]"),
        ({"lr_steps": ((1, 0.0),)}, "must be above 0"),
        ({"sampler": "m_per_class", "images_per_class": 1}, "a pair needs at least 2"),
        ({"sampler": "m_per_class", "images_per_class": 5}, "holds no two classes of 5"),
        ({"weight_decay": -0.1}, "weight decay -0.1"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum 1.0"),
        ({"momentum": 0.9}, "momentum belongs to sgd; adam has its own"),
        ({"optimizer": "adamw", "momentum": 0.9}, "adamw has its own"),
        ({"schedule": "one_cycle", "warmup_epochs": 1}, "one_cycle rises by itself"),
        ({"schedule": "one_cycle", "lr_steps": ((1, 1e-4),)}, "schedule, not with one_cycle"),
        ({"schedule": "plateau", "plateau_factor": 1.0}, "plateau factor 1.0"),
        ({"schedule": "plateau", "plateau_patience": -1}, "plateau patience -1"),
        ({"schedule": "cosine", "plateau_patience": 3}, "go with schedule plateau, not cosine"),
        ({"crop_px": 0}, "crops of 0 px"),
        ({"ema_decay": 1.0}, "EMA decay 1.0"),
        ({"averaged_checkpoints": -1}, "-1 averaged checkpoints"),
        ({"averaged_checkpoints": 2, "ema_decay": 0.9}, "take one"),
        ({"averaged_checkpoints": 4}, "only 3 epochs"),
        ({"averaged_checkpoints": 2, "frozen_backbone_epochs": 2}, "only 1 epochs"),
        ({"averaged_checkpoints": 1, "frozen_backbone_epochs": 9}, "only 0 epochs"),
        ({"seed": -1}, "seed -1"),
        ({"devices": 0}, "0 devices"),
    ],
)
def test_what_cannot_be_done_is_reported_in_one_line(changes: dict[str, Any], said: str) -> None:
    (problem,) = training_problems(replace(FINE, **changes))
    assert said in problem
    assert "\n" not in problem
