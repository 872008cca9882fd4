"""A training that takes moments: a network with BatchNorm and dropout learns noise by heart.

Every mistake of a resumed run therefore shows in its weights.
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import nn

from atlas.training.loaders import training_loader, validation_loader
from atlas.training.loop import fit
from atlas.training.optimization import build_optimizer
from atlas.training.settings import TrainingSettings
from tests.atlas.training.stores import tiny_store

COUNT, SIZE_PX = 14, 8
BATCHES = 5  # the last batch has 2 images
# Runs are compared with sums computed by hand, so every machine trains them in float32.
TRAINING = TrainingSettings(epochs=3, batch_size=3, learning_rate=1e-2, seed=3, precision="32-true")


class TinyNetwork(nn.Module):
    """A network N x 1 x 8 x 8 -> N."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.head = nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(72), nn.Dropout(0.5), nn.Linear(72, 1)
        )

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images_NCHW.float() / 255)).squeeze(1)


class TinyModule(L.LightningModule):
    """Learn the number of each image.

    `stop_before` is the step, over all epochs, that never happens.
    """

    def __init__(self, training: TrainingSettings, *, stop_before: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network, self.training_settings = TinyNetwork(), training
        self.stop_before = stop_before
        self.steps: list[tuple[int, int]] = []  # (epoch, batch)
        self.losses: list[float] = []
        self.rates: list[list[float]] = []
        self.seen: list[list[int]] = []
        self.backbone_states: list[dict[str, torch.Tensor]] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        step = self.current_epoch * self.trainer.num_training_batches + batch_idx
        if step == self.stop_before:
            raise RuntimeError("stopped")
        self.steps.append((self.current_epoch, batch_idx))
        self.rates.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        self.seen.append(batch[2].tolist())
        backbone = self.network.backbone.state_dict()
        self.backbone_states.append({name: tensor.clone() for name, tensor in backbone.items()})
        loss = (self.network(batch[0]) - batch[1]).square().mean()
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", (self.network(batch[0]) - batch[1]).abs().mean(), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return build_optimizer(self, self.network.backbone, self.training_settings)


def train_tiny(
    folder: Path,
    training: TrainingSettings = TRAINING,
    *,
    stop_before: int | None = None,
    checkpoint_minutes: float = 0.0,
    kind: type[TinyModule] = TinyModule,
) -> TinyModule:
    """Train in folder/run on the store in folder/store, with a checkpoint at every step."""
    store = tiny_store(folder / "store", count=COUNT, channels=1, size_px=SIZE_PX)
    targets = torch.linspace(0, 1, COUNT)
    module = kind(training, stop_before=stop_before)
    fit(
        module,
        training_loader(store, store.ids, targets, training),
        validation_loader(store, store.ids, targets, training),
        folder=folder / "run",
        training=training,
        monitor="error",
        mode="min",
        checkpoint_minutes=checkpoint_minutes,
    )
    return module
