"""Averaged weights equal averages that are computed from an ordinary run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from atlas.training.loaders import training_loader, validation_loader
from atlas.training.loop import read_checkpoint
from tests.atlas.training.made import BATCHES, COUNT, SIZE_PX, TRAINING, TinyModule, train_tiny
from tests.atlas.training.stores import tiny_store
from tests.atlas.training.test_loop import state, table

State = dict[str, torch.Tensor]
BACKBONE = "network.backbone."


def backbone(of_module: State) -> State:
    return {
        name.removeprefix(BACKBONE): tensor
        for name, tensor in of_module.items()
        if name.startswith(BACKBONE) and tensor.is_floating_point()
    }


def after_each_step(folder: Path, module: TinyModule) -> list[State]:
    """Return the backbone after each step of a run."""
    last = backbone(state(folder, "last.ckpt"))
    return [*({name: s[name] for name in last} for s in module.backbone_states[1:]), last]


def assert_close(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-6)


def error_of(weights: State, folder: Path) -> float:
    """Return the mean over batches of the validation error of `TinyModule`."""
    module = TinyModule(TRAINING)
    module.load_state_dict(weights)
    module.eval()
    store = tiny_store(folder / "again", count=COUNT, channels=1, size_px=SIZE_PX)
    with torch.inference_mode():
        batches = [
            (len(images), float((module.network(images) - targets).abs().mean()))
            for images, targets, _ in validation_loader(
                store, store.ids, torch.linspace(0, 1, COUNT), TRAINING
            )
        ]
    return sum(n * error for n, error in batches) / COUNT


def test_an_ema_follows_its_decay_at_each_step(tmp_path: Path) -> None:
    module = train_tiny(tmp_path / "plain")
    steps = after_each_step(tmp_path / "plain", module)
    average = steps[0]
    for now in steps[1:]:
        average = {name: 0.7 * average[name] + 0.3 * now[name] for name in now}
    train_tiny(tmp_path / "ema", replace(TRAINING, ema_decay=0.7))
    assert_close(backbone(state(tmp_path / "ema", "last.ckpt")), average)


def test_the_ema_is_validated(tmp_path: Path) -> None:
    train_tiny(tmp_path, replace(TRAINING, ema_decay=0.7))
    reported = float(table(tmp_path)[-1]["error"])
    assert reported == pytest.approx(error_of(state(tmp_path, "last.ckpt"), tmp_path), rel=1e-5)
    best = read_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    reported = float(table(tmp_path)[best["epoch"]]["error"])
    assert reported == pytest.approx(error_of(best["state_dict"], tmp_path), rel=1e-5)


def test_averaging_does_not_change_the_training(tmp_path: Path) -> None:
    plain = train_tiny(tmp_path / "plain")
    for name, value in (("ema_decay", 0.7), ("averaged_checkpoints", 2)):
        training = replace(TRAINING, **{name: value})  # type: ignore[arg-type]
        assert train_tiny(tmp_path / name, training).losses == plain.losses


def test_the_last_epochs_are_averaged_and_batchnorm_is_measured_again(tmp_path: Path) -> None:
    module = train_tiny(tmp_path / "plain")
    ends = after_each_step(tmp_path / "plain", module)[BATCHES - 1 :: BATCHES]
    training = replace(TRAINING, averaged_checkpoints=2)
    train_tiny(tmp_path / "averaged", training)
    averaged = backbone(state(tmp_path / "averaged", "averaged.ckpt"))
    learned = [name for name in averaged if "running" not in name]
    mean = {name: (ends[1][name] + ends[2][name]) / 2 for name in learned}
    assert_close({name: averaged[name] for name in learned}, mean)
    mean_F, variance_F = batchnorm_of_epoch_3(tmp_path, training, mean)
    torch.testing.assert_close(averaged["1.running_mean"], mean_F, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(averaged["1.running_var"], variance_F, rtol=1e-4, atol=1e-5)


def batchnorm_of_epoch_3(folder: Path, training: Any, weights: State) -> tuple[Any, Any]:
    """Return means over batches of the output of the convolution. No epoch 3 was trained."""
    store = tiny_store(folder / "again", count=COUNT, channels=1, size_px=SIZE_PX)
    loader: Any = training_loader(store, store.ids, torch.zeros(COUNT), training)
    loader.batch_sampler.start(3)
    maps = [
        torch.nn.functional.conv2d(images / 255, weights["0.weight"], weights["0.bias"])
        for images, _, _ in loader
    ]
    means = torch.stack([m.mean((0, 2, 3)) for m in maps])
    variances = torch.stack([m.transpose(0, 1).flatten(1).var(1) for m in maps])
    return means.mean(0), variances.mean(0)


def test_the_average_is_scored_and_the_weights_of_epochs_are_removed(tmp_path: Path) -> None:
    train_tiny(tmp_path, replace(TRAINING, averaged_checkpoints=2))
    checkpoints = tmp_path / "run" / "checkpoints"
    assert {p.name for p in checkpoints.iterdir()} == {"best.ckpt", "last.ckpt", "averaged.ckpt"}
    stored = read_checkpoint(checkpoints / "averaged.ckpt")
    assert stored["epoch"] == 2
    (kept,) = stored["callbacks"].values()
    assert kept["monitor"] == "error"
    assert kept["best_model_score"] == pytest.approx(
        error_of(stored["state_dict"], tmp_path), rel=1e-5
    )


class StoppedDuringValidation(TinyModule):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if self.trainer.state.fn == "validate":
            raise RuntimeError("stopped")
        super().validation_step(batch, batch_idx)


def test_a_run_that_is_stopped_during_averaging_averages_again(tmp_path: Path) -> None:
    training = replace(TRAINING, averaged_checkpoints=3)
    train_tiny(tmp_path / "whole", training)
    with pytest.raises(RuntimeError, match="stopped"):
        train_tiny(tmp_path / "stopped", training, kind=StoppedDuringValidation)
    assert train_tiny(tmp_path / "stopped", training).steps == []
    whole, stopped = (state(tmp_path / f, "averaged.ckpt") for f in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


@pytest.mark.gpu
def test_an_average_measured_on_a_gpu_is_saved_for_the_processor(tmp_path: Path) -> None:
    train_tiny(tmp_path, replace(TRAINING, averaged_checkpoints=2))
    averaged = state(tmp_path, "averaged.ckpt")
    assert all(tensor.device.type == "cpu" for tensor in averaged.values())
    assert all(torch.isfinite(tensor).all() for tensor in averaged.values())
