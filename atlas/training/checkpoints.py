"""Checkpoints from which a run is resumed, and averaged weights.

Averaging takes the mean of the weights at the end of the last epochs. Sources: Izmailov et al.,
Averaging Weights Leads to Wider Optima (2018), algorithm 1; the third of HPA 2018 averaged its last
ten checkpoints.
"""

import io
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from atlas.core.checksums import DIGITS, checksum
from atlas.core.files import write_bytes
from atlas.core.row_file import DamagedFileError
from atlas.training.loaders import Sample
from atlas.training.scoring import measure_batchnorm, score
from atlas.training.settings import TrainingSettings
from atlas.training.weights import load_weights, save_weights

CHECKSUM_MARK = b"atlas checksum "
AVERAGED_FILE, BEST_FILE, LAST_FILE = "averaged.ckpt", "best.ckpt", "last.ckpt"


class Checkpoints(Checkpoint):
    """Write best.ckpt and last.ckpt.

    best.ckpt is written at the end of the best epoch by `monitor`. last.ckpt is written at the end
    of every epoch and `minutes` after the previous checkpoint, between two steps of the optimizer.
    The callback of Lightning does not wait for such steps, and it loses the best score if the
    folder is moved.
    """

    def __init__(
        self, folder: Path, *, monitor: str, mode: Literal["max", "min"], minutes: float
    ) -> None:
        self.best, self.last = folder / BEST_FILE, folder / LAST_FILE
        self.monitor, self.mode, self.seconds = monitor, mode, 60 * minutes
        self.sign = 1 if mode == "max" else -1
        self.best_model_score: float | None = None
        self.saved_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"monitor": self.monitor, "best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.best_model_score = state_dict["best_model_score"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the time until the next checkpoint."""
        self.saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Write last.ckpt if it is due.

        Accumulated gradients are not part of a checkpoint, so none is written before a step is
        complete.
        """
        done = batch_idx + 1
        stepped = done % trainer.accumulate_grad_batches == 0
        if stepped and done < trainer.num_training_batches and self._due(trainer):
            self._save(trainer, self.last)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write best.ckpt first, so that last.ckpt records the best score."""
        # All processes must use the same score, or some would wait for the others forever.
        score = trainer.strategy.broadcast(float(trainer.callback_metrics[self.monitor]))
        if self.is_best(score):
            self.best_model_score = score
            self._save(trainer, self.best)
        self._save(trainer, self.last)

    def _due(self, trainer: L.Trainer) -> bool:
        due = time.monotonic() - self.saved_at >= self.seconds
        return bool(trainer.strategy.reduce_boolean_decision(due, all=False))

    def is_best(self, score: float) -> bool:
        """Return whether a score is better than that of all epochs so far."""
        best = self.best_model_score
        return best is None or math.isnan(best) or self.sign * score > self.sign * best

    def _save(self, trainer: L.Trainer, path: Path) -> None:
        trainer.save_checkpoint(path, weights_only=False)
        self.saved_at = time.monotonic()


class EpochWeights(Callback):
    """Keep the weights at the end of each epoch that will be averaged."""

    def __init__(self, training: TrainingSettings, folder: Path) -> None:
        self.training, self.folder = training, folder

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the weights before last.ckpt is written, so that every epoch in it has its file."""
        if trainer.is_global_zero and trainer.current_epoch in _epochs(self.training):
            save_weights(_file(self.folder, trainer.current_epoch), pl_module)


def averaged_checkpoint(
    module: L.LightningModule,
    train_loader: DataLoader[Sample],
    validation_loader: Iterable[Any],
    *,
    folder: Path,
    training: TrainingSettings,
    monitor: str,
) -> Path:
    """Average the weights of `EpochWeights`, measure the result, and return its checkpoint.

    The checkpoint has the same form as that of an epoch. It depends on the saved weights alone, so
    a killed run can compute it again; the weights are removed afterwards. The averaged weights have
    never run, so the statistics of BatchNorm are measured again in one pass over an epoch of
    training images.
    """
    path = folder / AVERAGED_FILE
    files = [_file(folder, epoch) for epoch in _epochs(training)]
    if not path.exists():
        _load_mean(module, files)
        measure_batchnorm(module.get_submodule("network"), train_loader, training)
        measured = score(module, validation_loader, training, monitor)
        stored = {
            "state_dict": {name: tensor.cpu() for name, tensor in module.state_dict().items()},
            "epoch": training.epochs - 1,
            "callbacks": {"averaged": {"monitor": monitor, "best_model_score": measured}},
        }
        WrittenBeside().save_checkpoint(stored, path)
    for file in files:
        file.unlink(missing_ok=True)
    return path


class WrittenBeside(TorchCheckpointIO):
    """Write checkpoints completely or not at all.

    Lightning moves a file from the temporary folder of the system, which copies it if that folder
    is on another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, followed by its checksum."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        digest = checksum(content.getbuffer())
        content.seek(0, io.SEEK_END)
        content.write(CHECKSUM_MARK + digest.encode())
        write_bytes(Path(path), content.getvalue())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, see `load_checkpoint`."""
        return load_checkpoint(Path(path), map_location=map_location)


def load_checkpoint(path: Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """Return the content of a checkpoint.

    torch ignores the checksums inside its files, so a checksum follows the content.

    Raises:
        DamagedFileError: The file does not have its checksum.
    """
    content = memoryview(path.read_bytes())
    archive, after = (
        content[: -len(CHECKSUM_MARK) - DIGITS],
        content[-len(CHECKSUM_MARK) - DIGITS :],
    )
    if after != CHECKSUM_MARK + checksum(archive).encode():
        raise DamagedFileError(path)
    stored: dict[str, Any] = torch.load(
        io.BytesIO(archive), map_location=map_location, weights_only=True
    )
    return stored


def _epochs(training: TrainingSettings) -> range:
    return range(training.epochs - training.averaged_checkpoints, training.epochs)


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch_{epoch}.safetensors"


def _load_mean(module: L.LightningModule, files: list[Path]) -> None:
    average = AveragedModel(module)
    for file in files:
        load_weights(file, module)
        average.update_parameters(module)
    module.load_state_dict(average.module.state_dict())
