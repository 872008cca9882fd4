"""Callbacks that run before and after each step and epoch of a training."""

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from tensorboardX import SummaryWriter

from atlas.core.files import disk_errors_name, written_beside
from atlas.training.loaders import EpochBatches, seed_of
from atlas.training.optimization import plateau_share, rate_at
from atlas.training.settings import TrainingSettings


class EveryStep(Callback):
    """Set everything that a step depends on: its batch, dropout seed, rates, and frozen backbone.

    All of it follows from (epoch, batch, scores of earlier epochs). A run that was stopped can
    therefore be resumed as if it had not been stopped: its state is the number of batches that are
    done in the epoch, and the scores.
    """

    def __init__(
        self, training: TrainingSettings, *, monitor: str, mode: Literal["max", "min"]
    ) -> None:
        self.training = training
        self.monitor, self.mode = monitor, mode
        self.epoch, self.batches_done = 0, 0
        self.scores: list[float] = []
        self.plateau_share = 1.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"epoch": self.epoch, "batches_done": self.batches_done, "scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.epoch, self.batches_done = state_dict["epoch"], state_dict["batches_done"]
        self.scores = state_dict["scores"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the epoch here too.

        Lightning does not start an epoch that is resumed in the middle.
        """
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the batches of the epoch, and compute the rate after a plateau."""
        loader: Any = trainer.train_dataloader
        batches: EpochBatches = loader.batch_sampler
        resumed = trainer.current_epoch == self.epoch
        batches.start(trainer.current_epoch, self.batches_done if resumed else 0)
        self.plateau_share = plateau_share(self.training, self.scores, self.mode)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the seed, the learning rates, and whether the backbone learns."""
        epoch, training = trainer.current_epoch, self.training
        of_all_processes = batch_idx * trainer.world_size + trainer.global_rank
        torch.manual_seed(seed_of("step", training.seed, epoch, of_all_processes))
        # The rate is that at the middle of the batch. At the start of the first batch of a warm-up
        # it would be 0.
        rate = rate_at(training, epoch + (batch_idx + 0.5) / trainer.num_training_batches)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate * self.plateau_share * group["rate_share"]
        if training.frozen_backbone_epochs:
            learns = epoch >= training.frozen_backbone_epochs
            pl_module.get_submodule("network.backbone").requires_grad_(learns).train(learns)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Count the batch."""
        self.epoch, self.batches_done = trainer.current_epoch, batch_idx + 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the score of the epoch."""
        # All processes must use the same score, or their rates would differ.
        score = trainer.strategy.broadcast(float(trainer.callback_metrics[self.monitor]))
        self.scores = [*self.scores[: trainer.current_epoch], score]


class EpochMeans(Callback):
    """Log the mean over the images of an epoch of each value that `training_step` returns.

    It returns its loss, or a dict of numbers that includes `loss`. The names of the means start
    with `train_`. The means of Lightning are not part of its checkpoints. If several processes
    train, all of them resume an epoch with the sums of the first process.
    """

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.images = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"sums": self.sums, "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.sums, self.images = state_dict["sums"], state_dict["images"]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reset the sums."""
        self.sums, self.images = {}, 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Add the values of a batch."""
        count = len(batch[0])
        # Lightning has divided the loss, but no other value, by the batches of one step.
        loss = outputs["loss"] * trainer.accumulate_grad_batches
        for name, mean in {**outputs, "loss": loss}.items():
            self.sums[name] = self.sums.get(name, 0) + mean.detach().float() * count
        self.images += count

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the means."""
        for name, total in self.sums.items():
            pl_module.log(f"train_{name}", total / self.images, prog_bar=True, sync_dist=True)


class EpochTable(Callback):
    """Write a CSV table with one row per epoch.

    After a training is resumed, rows behind its checkpoint are written again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def figures(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float]:
        """Return the figures of the epoch that has just ended by column, without `epoch`."""
        raise NotImplementedError

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the table with the row of this epoch."""
        if not trainer.is_global_zero:
            return
        row = {"epoch": str(trainer.current_epoch)}
        for name, value in self.figures(trainer, pl_module).items():
            row[name] = f"{value:.6g}"
        rows = [old for old in self._rows() if int(old["epoch"]) < trainer.current_epoch]
        with (
            written_beside(self.path) as beside,
            beside.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerows([*rows, row])

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


class MetricsTable(EpochTable):
    """A table of all metrics that were logged."""

    def figures(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float]:
        """Return all metrics that were logged."""
        return {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}


class EventFiles(Callback):
    """Write all metrics and the learning rate of new layers for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: SummaryWriter | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the event file."""
        if trainer.is_global_zero:
            # purge_step hides the epochs of a stopped run that are trained again. The suffix gives
            # two files that are opened in the same second different names.
            epoch = trainer.current_epoch
            with disk_errors_name(self.folder):
                self.writer = SummaryWriter(
                    str(self.folder), purge_step=epoch, filename_suffix=f".from_epoch_{epoch}"
                )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the metrics of the epoch."""
        if self.writer is None:
            return
        rate = trainer.optimizers[0].param_groups[-1]["lr"]
        with disk_errors_name(self.folder):
            for name, value in {**trainer.callback_metrics, "learning_rate": rate}.items():
                self.writer.add_scalar(name, float(value), trainer.current_epoch)
            self.writer.flush()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Close the event file."""
        if self.writer is not None:
            with disk_errors_name(self.folder):
                self.writer.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Close the event file of a training that failed or was stopped."""
        with suppress(OSError):  # the first error is the one to report
            self.teardown(trainer, pl_module, "fit")
