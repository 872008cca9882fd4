import csv
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event
from torch.nn.utils import parameters_to_vector

from atlas.core.errors import UserError
from atlas.training.loaders import training_loader
from atlas.training.loop import (
    claim_folder,
    differences,
    epochs_done,
    read_checkpoint,
    step_count,
)
from atlas.training.optimization import rate_at
from tests.atlas.training.made import BATCHES, TRAINING, TinyModule, train_tiny
from tests.atlas.training.processes import train_with_two_processes
from tests.atlas.training.stores import tiny_store

BOTH = ("best.ckpt", "last.ckpt")


def state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "run" / "checkpoints" / name)["state_dict"]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "run" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def events(folder: Path) -> list[Event]:
    """Read an event file as TensorBoard does: length, checksum, event, checksum."""
    found = []
    for path in sorted((folder / "run" / "logs").iterdir()):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def assert_equal_runs(one: Path, other: Path) -> None:
    names = [
        {path.name for path in (folder / "run" / "checkpoints").glob("[!.]*")}
        for folder in (one, other)
    ]
    assert names[0] == names[1] >= set(BOTH)
    for name in names[0]:
        first, second = state(one, name), state(other, name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    tables = [(folder / "run" / "metrics.csv").read_text() for folder in (one, other)]
    assert tables[0] == tables[1]


def test_a_run_leaves_a_table_and_two_checkpoints_that_need_no_pickle(tmp_path: Path) -> None:
    train_tiny(tmp_path)
    checkpoints = tmp_path / "run" / "checkpoints"
    assert {path.name for path in checkpoints.iterdir()} == set(BOTH)
    assert epochs_done(checkpoints / "last.ckpt") == 3
    rows = table(tmp_path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert list(rows[0]) == ["epoch", "error", "train_loss"]
    errors = [float(row["error"]) for row in rows]
    best = torch.load(checkpoints / "best.ckpt", weights_only=True)
    assert best["epoch"] == errors.index(min(errors))


def test_the_logged_loss_is_the_mean_over_all_images_of_the_epoch(tmp_path: Path) -> None:
    module = train_tiny(tmp_path, replace(TRAINING, epochs=1, accumulate_batches=2))
    images = [len(seen) for seen in module.seen]
    assert set(images) == {2, 3}  # the last batch is smaller
    mean = sum(n * loss for n, loss in zip(images, module.losses, strict=True)) / sum(images)
    assert float(table(tmp_path)[0]["train_loss"]) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("accumulate_batches", [1, 2, 3])
def test_a_run_stopped_before_every_step_ends_as_if_it_had_not_been(
    tmp_path: Path, accumulate_batches: int
) -> None:
    """Each attempt comes one batch further, and is resumed at the last step of the optimizer."""
    training = replace(
        TRAINING, epochs=2, accumulate_batches=accumulate_batches, schedule="cosine",
        warmup_epochs=0.5, frozen_backbone_epochs=1,
    )  # fmt: skip
    whole = train_tiny(tmp_path / "whole", training)
    for step in range(training.epochs * BATCHES):
        with pytest.raises(RuntimeError, match="stopped"):
            train_tiny(tmp_path / "stopped", training, stop_before=step)
    last = train_tiny(tmp_path / "stopped", training)
    in_epoch = BATCHES - 1
    assert last.steps[0] == (training.epochs - 1, in_epoch - in_epoch % accumulate_batches)
    assert last.seen == whole.seen[-len(last.seen) :]
    assert_equal_runs(tmp_path / "whole", tmp_path / "stopped")


class GettingWorse(TinyModule):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", float(self.current_epoch))


@pytest.mark.parametrize(
    "changes",
    [
        {"ema_decay": 0.7},
        {"ema_decay": 0.7, "accumulate_batches": 2, "frozen_backbone_epochs": 1},
        {"averaged_checkpoints": 2},
        {"schedule": "plateau", "plateau_factor": 0.5, "plateau_patience": 0},
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01, "schedule": "one_cycle"},
        {"optimizer": "adamw", "weight_decay": 0.1},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_every_way_of_training_resumes_at_every_step(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Each attempt comes two batches further, so some of them start within an epoch."""
    training = replace(TRAINING, **changes)
    train_tiny(tmp_path / "whole", training, kind=GettingWorse)
    for step in range(1, training.epochs * BATCHES, 2):
        with pytest.raises(RuntimeError, match="stopped"):
            train_tiny(tmp_path / "stopped", training, stop_before=step, kind=GettingWorse)
    train_tiny(tmp_path / "stopped", training, kind=GettingWorse)
    assert_equal_runs(tmp_path / "whole", tmp_path / "stopped")


def test_the_rate_falls_if_the_metric_does_not_improve(tmp_path: Path) -> None:
    """Epoch 0 is the best. The patience is one epoch, so the rate falls after epochs 2 and 4."""
    training = replace(
        TRAINING, epochs=6, schedule="plateau", plateau_factor=0.5, plateau_patience=1,
        backbone_rate_share=0.1,
    )  # fmt: skip
    rates = train_tiny(tmp_path, training, kind=GettingWorse).rates
    expected = [rate for rate in (1e-2, 1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3) for _ in range(BATCHES)]
    assert [new for _, new in rates] == pytest.approx(expected)
    assert [backbone for backbone, _ in rates] == pytest.approx([0.1 * rate for rate in expected])


class NotANumberAtFirst(TinyModule):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", [float("nan"), 2.0, 3.0][self.current_epoch])


def test_an_epoch_without_a_score_is_the_best_until_another_has_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path, stop_before=BATCHES, kind=NotANumberAtFirst)
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert read_checkpoint(best)["epoch"] == 0
    train_tiny(tmp_path, kind=NotANumberAtFirst)
    assert read_checkpoint(best)["epoch"] == 1


def test_without_a_checkpoint_within_it_an_epoch_is_repeated(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path, stop_before=BATCHES + 2, checkpoint_minutes=60)
    assert train_tiny(tmp_path, checkpoint_minutes=60).steps[0] == (1, 0)


def test_a_run_is_resumed_in_a_folder_that_was_moved(tmp_path: Path) -> None:
    train_tiny(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path / "here", stop_before=2 * BATCHES)
    (tmp_path / "here").rename(tmp_path / "there")
    train_tiny(tmp_path / "there")
    assert_equal_runs(tmp_path / "whole", tmp_path / "there")


@pytest.mark.parametrize("sampler", ["balanced", "m_per_class"])
def test_other_samplers_resume_too(tmp_path: Path, sampler: str) -> None:
    training = replace(TRAINING, batch_size=4, images_per_class=2, sampler=sampler, epochs=2)
    whole = train_tiny(tmp_path / "whole", training)
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path / "stopped", training, stop_before=len(whole.steps) - 1)
    train_tiny(tmp_path / "stopped", training)
    assert_equal_runs(tmp_path / "whole", tmp_path / "stopped")


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    train_tiny(tmp_path)
    assert train_tiny(tmp_path).steps == []


def test_each_batch_has_the_rate_at_its_middle(tmp_path: Path) -> None:
    training = replace(TRAINING, schedule="cosine", warmup_epochs=1, backbone_rate_share=0.1)
    module = train_tiny(tmp_path, training)
    expected = [rate_at(training, (n + 0.5) / BATCHES) for n in range(3 * BATCHES)]
    assert [new for _, new in module.rates] == pytest.approx(expected)
    assert [backbone for backbone, _ in module.rates] == pytest.approx([0.1 * r for r in expected])


def test_a_frozen_backbone_does_not_change_and_learns_afterwards(tmp_path: Path) -> None:
    """This includes its BatchNorm statistics, also if the run was stopped in between."""
    training = replace(TRAINING, frozen_backbone_epochs=2)
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path, training, stop_before=BATCHES + 1)
    states = train_tiny(tmp_path, training).backbone_states
    start = TinyModule(training).network.backbone.state_dict()
    unfrozen = BATCHES - 1  # the remaining steps of epoch 1
    for name, tensor in start.items():
        assert all(torch.equal(state[name], tensor) for state in states[: unfrozen + 1])
        assert not torch.equal(states[unfrozen + 1][name], tensor)


def test_accumulated_batches_make_one_step(tmp_path: Path) -> None:
    """Two of 5 batches make a step, so steps follow the 2nd, the 4th and the last batch."""
    states = train_tiny(tmp_path, replace(TRAINING, accumulate_batches=2)).backbone_states
    weights = [state["0.weight"] for state in states]
    changed = [not torch.equal(a, b) for a, b in pairwise(weights)]
    assert changed[:BATCHES] == [False, True, False, True, True]


class StepLengths(TinyModule):
    """Measure how far each step of the optimizer moves all weights together."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.before = parameters_to_vector(self.parameters()).detach().clone()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        moved = parameters_to_vector(self.parameters()).detach() - self.before
        self.lengths = [*getattr(self, "lengths", []), float(moved.norm())]


def test_a_greater_gradient_is_scaled_to_the_norm_and_a_smaller_one_stays(tmp_path: Path) -> None:
    """A step of plain sgd is as long as the rate times the norm of the gradient."""
    plain = replace(TRAINING, optimizer="sgd", learning_rate=1e-2)
    free = train_tiny(tmp_path / "free", plain, kind=StepLengths).lengths
    norm = sorted(free)[len(free) // 2] / 1e-2
    clipped = train_tiny(
        tmp_path / "clipped", replace(plain, clip_gradient_norm=norm), kind=StepLengths
    ).lengths
    assert max(clipped) == pytest.approx(norm * 1e-2, rel=1e-3)
    assert max(clipped) < max(free)
    assert clipped[0] == pytest.approx(min(free[0], norm * 1e-2), rel=1e-3)
    assert min(clipped) < 0.9 * max(clipped)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimizer_can_be_clipped(optimizer: str, precision: str, tmp_path: Path) -> None:
    training = replace(TRAINING, optimizer=optimizer, precision=precision, clip_gradient_norm=1e-6)  # type: ignore[arg-type]
    free = train_tiny(tmp_path / "free", replace(training, clip_gradient_norm=None))
    clipped = train_tiny(tmp_path / "clipped", training)
    moved = [parameters_to_vector(module.parameters()) for module in (free, clipped)]
    assert not torch.equal(*moved)


def test_tensorboard_shows_the_metrics_and_rate_of_each_epoch(tmp_path: Path) -> None:
    training = replace(TRAINING, schedule="cosine")
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path, training, stop_before=2 * BATCHES + 1)
    train_tiny(tmp_path, training)
    reported = {
        (value.tag, event.step): value.simple_value
        for event in events(tmp_path)
        for value in event.summary.value
    }
    assert set(reported) == {
        (tag, epoch) for tag in ("error", "train_loss", "learning_rate") for epoch in range(3)
    }
    for epoch, row in enumerate(table(tmp_path)):
        assert reported["error", epoch] == pytest.approx(float(row["error"]), rel=1e-5)
        rate = rate_at(training, epoch + (BATCHES - 0.5) / BATCHES)
        assert reported["learning_rate", epoch] == pytest.approx(rate)


def test_a_damaged_checkpoint_is_reported_in_one_line(tmp_path: Path) -> None:
    train_tiny(tmp_path, replace(TRAINING, epochs=1))
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(b"broken")
    with pytest.raises(UserError, match="damaged"):
        train_tiny(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"devices": 9}, "9 devices need more"), ({"precision": "16-mixed"}, "16-mixed needs a GPU")],
)
def test_settings_that_this_machine_does_not_support_are_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=said):
        train_tiny(tmp_path, replace(TRAINING, **changes))


def test_bf16_trains(tmp_path: Path) -> None:
    train_tiny(tmp_path, replace(TRAINING, epochs=1, precision="bf16-mixed"))
    assert float(table(tmp_path)[0]["train_loss"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("frozen_backbone_epochs", [0, 1])
def test_two_processes_train_one_network(tmp_path: Path, frozen_backbone_epochs: int) -> None:
    training = replace(TRAINING, epochs=2, frozen_backbone_epochs=frozen_backbone_epochs)
    assert train_with_two_processes(tmp_path, training) == 0
    assert epochs_done(tmp_path / "run" / "checkpoints" / "last.ckpt") == 2
    assert [row["epoch"] for row in table(tmp_path)] == ["0", "1"]
    stored = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    # Each process gets two of 5 batches, so an epoch has two steps.
    assert stored["global_step"] == 4


def test_modules_and_loaders_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, count=4, channels=1, size_px=8)
    loader = training_loader(store, store.ids, torch.arange(4), TRAINING)
    sent = pickle.loads(pickle.dumps((TinyModule(TRAINING), loader)))
    assert torch.equal(next(iter(sent[1]))[0], next(iter(loader))[0])


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    claim_folder(tmp_path, replace(TRAINING, lr_steps=((2, 1e-3),)))
    claim_folder(tmp_path, replace(TRAINING, lr_steps=((2, 1e-3),)))
    with pytest.raises(UserError, match=r"lr_steps was .*seed was 3, is 4"):
        claim_folder(tmp_path, replace(TRAINING, seed=4))


def test_differences_name_nested_settings() -> None:
    assert list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})) == [
        "a.b was 1, is 3"
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "3 epochs of 5 batches: 15 steps"),
        ({"epochs": 1, "accumulate_batches": 2}, "1 epoch of 5 batches, 2 in each step: 3 steps"),
    ],
)
def test_a_training_says_at_its_start_how_many_steps_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], said: str
) -> None:
    caplog.set_level("INFO")
    training = replace(TRAINING, **changes)
    train_tiny(tmp_path, training)
    assert caplog.messages == [said]
    stored = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert stored["global_step"] == step_count(training, batches=BATCHES)
    # Two devices show 4 of 5 batches, two in each step.
    assert step_count(replace(TRAINING, devices=2), batches=BATCHES) == 3 * 2


def test_messages_count_epochs_from_one_and_report_where_a_run_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path, stop_before=BATCHES)
    first = capsys.readouterr()
    assert first.err.startswith("epoch 1 of 3: loss ")
    assert "on held-out images (best so far), " in first.err
    assert first.err.endswith(" left\n")
    assert first.out == ""
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path, stop_before=BATCHES + 2)
    train_tiny(tmp_path)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "epoch 2 of 3", "epoch 3 of 3",
    ]  # fmt: skip
    train_tiny(tmp_path)
    assert [text for text in caplog.messages if "resumed" in text or "complete" in text] == [
        "resumed after epoch 1 of 3",
        "resumed in epoch 2 of 3, after batch 2",
        "this training is complete: all 3 epochs are done",
    ]
