"""Warn after a few epochs if an embedder has learned nothing yet."""

import logging
import math

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from atlas.core.wording import counted

LOGGER = logging.getLogger(__name__)
CHECKED_AFTER = 3  # epochs, or after the last one of a shorter training


class LearningCheck(Callback):
    """Compare top-1 after three epochs with top-1 before the training, and warn if it is no better.

    The training goes on, because it may learn later.

    Args:
        start: Top-1 before the first step.
        monitor: Name of the metric that holds top-1.
        queries: Number of validation queries.
        advice: What to do, as the end of the warning.
    """

    def __init__(self, start: float, *, monitor: str, queries: int, advice: str) -> None:
        self.start, self.monitor, self.queries, self.advice = start, monitor, queries, advice

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Warn, if this is the epoch to do so."""
        epochs = trainer.current_epoch + 1
        if epochs != min(CHECKED_AFTER, trainer.max_epochs or 0) or not trainer.is_global_zero:
            return
        top1 = float(trainer.callback_metrics[self.monitor])
        if is_no_better(top1, self.start, queries=self.queries):
            LOGGER.warning(
                f"after {counted(epochs, 'epoch')}, top-1 is {top1:.3f}, which is not "
                f"measurably above the {self.start:.3f} before the training; {self.advice}"
            )


def is_no_better(top1: float, start: float, *, queries: int) -> bool:
    """Return whether top-1 has not risen by more than two standard errors of the difference.

    The result is False if the queries are too few, or the start too good, to measure any rise.
    """
    return not _has_risen(top1, start, queries) and _has_risen(1.0, start, queries)


def _has_risen(top1: float, start: float, queries: int) -> bool:
    # Both are shares of the same queries, whose errors mostly agree, so this asks for a little more
    # than two standard errors. A mean Jaccard similarity varies less than a share.
    variance = top1 * (1 - top1) + start * (1 - start)
    return queries > 0 and top1 - start > 2 * math.sqrt(variance / queries)
