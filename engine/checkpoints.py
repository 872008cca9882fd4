"""When and how a run keeps what it needs to go on."""

import math
import time
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from atlas.files import written_beside


class WrittenBeside(TorchCheckpointIO):
    """Whole or not at all: Lightning's own way moves a file from the system's temporary folder,
    which is a copy where that is another disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        # An open file: given a path, torch writes its name into the archive.
        with written_beside(Path(path)) as beside, beside.open("wb") as file:
            torch.save(checkpoint, file)


class Checkpoints(Checkpoint):
    """best.ckpt at the end of the best epoch by `monitor`; last.ckpt at the end of every epoch, and
    `minutes` after the one before, between two steps of the optimizer.

    Lightning's own has no notion of such steps, and forgets the best where a folder has moved.
    """

    def __init__(
        self, folder: Path, *, monitor: str, mode: Literal["max", "min"], minutes: float
    ) -> None:
        self.best, self.last = folder / "best.ckpt", folder / "last.ckpt"
        self.monitor, self.mode, self.seconds = monitor, mode, 60 * minutes
        self.sign = 1 if mode == "max" else -1
        self.best_model_score: float | None = None
        self.saved_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"monitor": self.monitor, "best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_model_score = state_dict["best_model_score"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Gradients that wait for more batches are in no checkpoint, so none is written then."""
        done = batch_idx + 1
        stepped = done % trainer.accumulate_grad_batches == 0
        if stepped and done < trainer.num_training_batches and self._due(trainer):
            self._save(trainer, self.last)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The best first: so the last knows it."""
        # Several processes must agree, or some would wait for the others for ever.
        score = trainer.strategy.broadcast(float(trainer.callback_metrics[self.monitor]))
        if self._is_best(score):
            self.best_model_score = score
            self._save(trainer, self.best)
        self._save(trainer, self.last)

    def _due(self, trainer: L.Trainer) -> bool:
        due = time.monotonic() - self.saved_at >= self.seconds
        return bool(trainer.strategy.reduce_boolean_decision(due, all=False))

    def _is_best(self, score: float) -> bool:
        best = self.best_model_score
        return best is None or math.isnan(best) or self.sign * score > self.sign * best

    def _save(self, trainer: L.Trainer, path: Path) -> None:
        trainer.save_checkpoint(path, weights_only=False)
        self.saved_at = time.monotonic()
