import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from atlas.core.errors import UserError
from atlas.core.sealed_json import read_sealed_json, write_sealed_json
from retrieval.learning_check import LearningCheck, is_no_better
from retrieval.training import train_embedder
from tests.retrieval.made import antibodies, manifest, settings, store

IDENTITIES = antibodies(8, 4)


@pytest.mark.parametrize(
    ("top1", "start", "queries", "expected"),
    [
        (0.056, 0.066, 800, True),  # worse
        (0.092, 0.066, 800, True),  # 2 standard errors are 0.027
        (0.094, 0.066, 800, False),
        (0.080, 0.066, 80_000, False),
        (0.0, 0.0, 100, True),
        (float("nan"), 0.1, 100, True),
        (0.9, 0.9, 10, False),  # even 1 would be within 2 standard errors
        (1.0, 1.0, 1000, False),
        (0.0, 0.0, 0, False),
    ],
)
def test_a_rise_has_to_exceed_two_standard_errors_of_the_difference(
    top1: float, start: float, queries: int, expected: bool
) -> None:
    assert is_no_better(top1, start, queries=queries) is expected


def warned(epochs: int, top1: float, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of a training whose top-1 is always the same."""
    check = LearningCheck(0.1, monitor="top1", queries=1000, advice="try another rate")
    caplog.clear()
    for epoch in range(epochs):
        trainer: Any = SimpleNamespace(
            current_epoch=epoch, max_epochs=epochs, is_global_zero=True,
            callback_metrics={"top1": top1},
        )  # fmt: skip
        check.on_train_epoch_end(trainer, None)
    return caplog.messages


def test_it_warns_once_after_three_epochs_or_after_the_last_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = (
        "top-1 is 0.100, which is not measurably above the 0.100 before the training; "
        "try another rate"
    )
    assert warned(50, 0.1, caplog) == [f"after 3 epochs, {said}"]
    assert warned(3, 0.1, caplog) == [f"after 3 epochs, {said}"]
    assert warned(1, 0.1, caplog) == [f"after 1 epoch, {said}"]
    assert warned(50, 0.2, caplog) == warned(1, 0.2, caplog) == []


def train(tmp_path: Path, rate: float, classes: str = "auto", **changes: Any) -> None:
    training = replace(settings().training, learning_rate=rate, epochs=4, **changes)
    how = settings(classes=classes, training=training)
    images = store(tmp_path / "store", IDENTITIES)
    train_embedder(manifest(IDENTITIES), images, how, tmp_path / "run")


def test_a_training_that_learns_nothing_goes_on_and_names_the_recipe_that_needs_few_steps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path, 1e-9)
    start = read_sealed_json(tmp_path / "run" / "start.json")["validation_top1"]
    (said,) = (r.message for r in caplog.records if r.levelno == logging.WARNING)
    assert said.startswith("after 3 epochs, top-1 is ")
    assert f"not measurably above the {start:.3f} before the training" in said
    assert said.endswith(
        "at the learning rate 1e-09, the 12 steps of this training may be too few; "
        "`atlas train-embedder small` needs fewer (give it another --out)"
    )
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 4


def test_the_start_is_not_scored_on_a_machine_that_cannot_train(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="16-mixed needs a GPU"):
        train(tmp_path, 1e-3, precision="16-mixed")
    assert not (tmp_path / "run" / "start.json").exists()


def test_a_resumed_training_compares_with_the_same_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_sealed_json(tmp_path / "run" / "start.json", {"validation_top1": 0.625})
    train(tmp_path, 1e-9, classes="image")
    assert "above the 0.625 before the training" in caplog.text
    assert "too few; try a higher --learning-rate" in caplog.text
