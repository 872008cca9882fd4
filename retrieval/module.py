"""The Lightning module of an embedder. Axes: N images, D dimensions."""

from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray

from engine.loaders import Sample
from engine.optimizers import build_optimizer
from engine.settings import TrainingSettings
from retrieval.losses.metric_loss import MetricLoss
from retrieval.metrics import top1
from retrieval.network import EmbeddingNetwork

SELECTED_BY = "validation_top1"
QUERIES, GALLERY = 0, 1  # the order of the validation loaders


class EmbedderModule(L.LightningModule):
    """Trains network and class vectors together, and chooses the epoch by `metrics.top1`.

    query_ids, gallery_ids: what the two validation loaders give, in order; a query is measured
    through one view, for speed.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        loss: MetricLoss,
        training: TrainingSettings,
        *,
        query_ids: tuple[str, ...],
        gallery_ids: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.network, self.loss, self.training_settings = network, loss, training
        self.query_ids, self.gallery_ids = query_ids, gallery_ids
        self._seen: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[], []]

    def training_step(self, batch: Sample, batch_idx: int) -> torch.Tensor:
        images, targets, _ = batch
        loss: torch.Tensor = self.loss(self.network.features(images), targets)
        return loss

    def validation_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> None:
        images, targets, _ = batch
        vectors = self.network.one_view(images).float().cpu()
        self._seen[dataloader_idx].append((vectors, targets.cpu()))

    def on_validation_epoch_end(self) -> None:
        queries, query_targets = self._collected(QUERIES)
        gallery, gallery_targets = self._collected(GALLERY)
        share = top1(
            queries, self.query_ids, query_targets, gallery, self.gallery_ids, gallery_targets
        )
        self.log(SELECTED_BY, share, prog_bar=True)
        self._seen = [[], []]

    def configure_optimizers(self) -> Any:
        """All parameters: those of the loss are the class vectors."""
        return build_optimizer(self, self.network.trunk, self.training_settings)

    def _collected(self, which: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        vectors, targets = zip(*self._seen[which], strict=True)
        return torch.cat(vectors).numpy(), torch.cat(targets).numpy()
