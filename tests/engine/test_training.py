import csv
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import nn

from atlas.errors import UserError
from engine.loaders import training_loader, validation_loader
from engine.settings import TrainingSettings
from engine.training import adam, claim_folder, differences, epochs_done, fit, read_checkpoint
from tests.engine.stores import tiny_store

STEPPED = TrainingSettings(
    epochs=4, batch_size=5, learning_rate=1e-2, lr_steps=((2, 1e-3), (3, 1e-4)), seed=3
)


class MeanModule(L.LightningModule):
    """Learns each image's number from its pixels, with dropout, so that seeds matter."""

    def __init__(self, killed_in_epoch: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 1))
        self.killed_in_epoch, self.epochs_run = killed_in_epoch, []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == self.killed_in_epoch and batch_idx == 1:
            raise RuntimeError("killed")
        loss = (self.net(batch[0].float() / 255).squeeze(1) - batch[1]).square().mean()
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_start(self) -> None:
        self.epochs_run.append((self.current_epoch, self.optimizers().param_groups[0]["lr"]))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", (self.net(batch[0].float() / 255).squeeze(1) - batch[1]).abs().mean())

    def configure_optimizers(self) -> Any:
        return adam(self.parameters(), STEPPED)


@pytest.fixture
def loaders(tmp_path: Path):
    store = tiny_store(tmp_path / "store", channels=1, size_px=8)
    targets = torch.linspace(0, 1, 12)
    return (
        training_loader(store, store.ids, targets, STEPPED),
        validation_loader(store, store.ids, targets, STEPPED),
    )


def run(module: MeanModule, loaders: Any, folder: Path, epochs: int = 4) -> Path:
    training = TrainingSettings(epochs=epochs, batch_size=2, learning_rate=0.1, seed=3)
    return fit(module, *loaders, folder=folder, training=training, monitor="error", mode="min")


def state(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["state_dict"]


def test_a_run_leaves_a_table_and_two_checkpoints_that_need_no_pickle(loaders, tmp_path) -> None:
    best = run(MeanModule(), loaders, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert {path.name for path in best.parent.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert epochs_done(last) == 4
    torch.load(best, weights_only=True)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    errors = [float(row["error"]) for row in rows]
    assert read_checkpoint(best)["epoch"] == errors.index(min(errors))


def test_equal_runs_give_equal_bits(loaders, tmp_path) -> None:
    one, other = (state(run(MeanModule(), loaders, tmp_path / n)) for n in ("one", "other"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_run_goes_on_as_if_it_had_not_been(loaders, tmp_path) -> None:
    run(MeanModule(), loaders, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        run(MeanModule(killed_in_epoch=2), loaders, tmp_path / "killed")
    resumed = MeanModule()
    run(resumed, loaders, tmp_path / "killed")
    assert [epoch for epoch, _ in resumed.epochs_run] == [2, 3]
    for name in ("best.ckpt", "last.ckpt"):
        whole = state(tmp_path / "whole" / "checkpoints" / name)
        killed = state(tmp_path / "killed" / "checkpoints" / name)
        assert all(torch.equal(whole[key], killed[key]) for key in whole)
    tables = [(tmp_path / n / "metrics.csv").read_text() for n in ("whole", "killed")]
    assert tables[0] == tables[1]


def test_a_finished_run_is_not_repeated(loaders, tmp_path) -> None:
    run(MeanModule(), loaders, tmp_path / "run")
    again = MeanModule()
    assert run(again, loaders, tmp_path / "run").name == "best.ckpt"
    assert again.epochs_run == []


def test_rates_step_down_by_epoch(loaders, tmp_path) -> None:
    module = MeanModule()
    run(module, loaders, tmp_path / "run")
    rates = [rate for _, rate in module.epochs_run]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-4])
    assert [STEPPED.learning_rate_at(epoch) for epoch in range(4)] == pytest.approx(rates)


def test_a_damaged_checkpoint_is_told_in_one_line(loaders, tmp_path) -> None:
    run(MeanModule(), loaders, tmp_path / "run", epochs=1)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(b"broken")
    with pytest.raises(UserError, match="damaged"):
        run(MeanModule(), loaders, tmp_path / "run")


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    claim_folder(tmp_path, STEPPED)
    claim_folder(tmp_path, STEPPED)
    other = TrainingSettings(epochs=4, batch_size=5, learning_rate=1e-2, seed=4)
    with pytest.raises(UserError, match=r"lr_steps was .*seed was 3, is 4"):
        claim_folder(tmp_path, other)


def test_differences_name_nested_settings() -> None:
    assert list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})) == [
        "a.b was 1, is 3"
    ]
