"""A training that stops at a step of its own choice."""

from typing import Any

import lightning.pytorch as L


class StopsBefore(L.LightningModule):
    """To be mixed into a module: `stop_before` is the step, counted over epochs of `batches`, that
    never happens."""

    batches: int
    stop_before: int | None = None

    def training_step(self, batch: Any, batch_index: int) -> Any:
        if self.current_epoch * self.batches + batch_index == self.stop_before:
            raise RuntimeError("stopped")
        return super().training_step(batch, batch_index)
