"""The progress of a training: a bar over all epochs, and a line for each epoch.

Messages count epochs from one, files count them from zero.
"""

import time
from contextlib import ExitStack

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from atlas.core.progress import Progress, duration, progress
from atlas.training.checkpoints import Checkpoints

METRIC_NAMES = {
    "validation_top1": "top-1",
    "validation_macro_f1": "macro F1",
    "validation_mse": "squared error",
}


class EpochProgress(Callback):
    """Show the progress of a training, and write a line after each epoch.

    An example of such a line:

        epoch 3 of 50: loss 1.234, top-1 0.567 on held-out images (best so far), 12 s, 9 min left

    This callback must come before `checkpoints`, which updates the best score at the end of the
    epoch.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.stack: ExitStack | None = None
        self.shown: Progress | None = None
        self.began = self.epoch_began = 0.0
        self.batches = self.first_epoch = self.batches_done = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the bar, with the epochs of an earlier run as done."""
        if not trainer.is_global_zero:
            return
        self.first_epoch = trainer.current_epoch
        self.began = time.monotonic()
        epochs, self.batches = int(trainer.max_epochs or 0), int(trainer.num_training_batches)
        self.stack = ExitStack()
        self.shown = self.stack.enter_context(
            progress(_epoch(trainer), total=epochs * self.batches, unit="batches")
        )
        self.batches_done = self.first_epoch * self.batches
        self.shown.skip(self.batches_done)
        self._start_epoch(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the time and the name of the epoch."""
        self._start_epoch(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """Report a batch."""
        if self.shown is None:
            return
        done = trainer.current_epoch * self.batches + batch_idx + 1
        self.shown.skip(done - self.batches_done - 1)  # above 0 only in an epoch that is resumed
        self.shown.update()
        self.batches_done = done

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line of the epoch."""
        if self.shown is not None:
            self.shown.note(self._line(trainer))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        if self.stack is not None and self.shown is not None:
            self.shown.rename("training")
            self.stack.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar of a training that failed or was stopped."""
        if self.stack is not None:
            self.stack.__exit__(type(exception), exception, exception.__traceback__)

    def _start_epoch(self, trainer: L.Trainer) -> None:
        self.epoch_began = time.monotonic()
        if self.shown is not None:
            self.shown.rename(_epoch(trainer))

    def _line(self, trainer: L.Trainer) -> str:
        now, monitor = time.monotonic(), self.checkpoints.monitor
        figures = trainer.callback_metrics
        score = float(figures[monitor])
        name = METRIC_NAMES.get(monitor, monitor.replace("_", " "))
        best = " (best so far)" if self.checkpoints.is_best(score) else ""
        parts = [
            f"loss {float(figures['train_loss']):.3f}",
            f"{name} {score:.3f} on held-out images{best}",
            duration(now - self.epoch_began),
        ]
        done = trainer.current_epoch + 1
        if left := int(trainer.max_epochs or 0) - done:
            left_s = (now - self.began) / (done - self.first_epoch) * left
            parts.append(f"{duration(left_s)} left")
        return f"{_epoch(trainer)}: {', '.join(parts)}"


def _epoch(trainer: L.Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
