"""A training that stops before a given step."""

from typing import Any

import lightning.pytorch as L


class StopsBefore(L.LightningModule):
    """A mixin that stops a training before the step `stop_before`.

    Steps are counted over epochs of `batches` batches.
    """

    batches: int
    stop_before: int | None = None

    def training_step(self, batch: Any, batch_index: int) -> Any:
        if self.current_epoch * self.batches + batch_index == self.stop_before:
            raise RuntimeError("stopped")
        return super().training_step(batch, batch_index)
