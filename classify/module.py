"""The training loop's view of a classifier. Axes: N images, C classes, H x W pixels."""

import math
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch

from atlas.metrics import f1_by_class
from classify.losses.choose import Phases
from classify.networks.base import ClassifierNetwork
from classify.settings import ClassifierSettings
from classify.thresholds import best_overall_cut
from engine.optimizers import build_optimizer

SELECTED_BY = "validation_macro_f1"


class ClassifierModule(L.LightningModule):
    """Logs validation_loss, of the phase in force, and validation_macro_f1, each once an epoch.

    Epochs are compared by macro F1 at the one cut that is best for all classes: a cut for each
    class would reward luck with the few images of a rare class.
    """

    def __init__(
        self, network: ClassifierNetwork, settings: ClassifierSettings, losses: Phases
    ) -> None:
        super().__init__()
        self.network, self.settings, self.losses = network, settings, losses
        self.validated: list[tuple[torch.Tensor, torch.Tensor]] = []
        # Of the last validation; NaN for a class that no image there carries.
        self.cut, self.f1_C = math.nan, np.full(0, math.nan)

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor | dict[str, torch.Tensor]:
        """The loss; of a network with a second one both parts beside their weighted sum."""
        images_NCHW, targets_NC, _ = batch
        maps = self.network.maps(images_NCHW)
        first = self._loss(self.network.classify(maps), targets_NC)
        second = self.network.auxiliary_loss(maps, images_NCHW, targets_NC)
        if second is None:
            return first
        loss = first + self.settings.auxiliary_weight * second
        return {"loss": loss, "classification": first.detach(), "auxiliary": second.detach()}

    def validation_step(self, batch: Any, batch_index: int) -> None:
        images_NCHW, targets_NC, _ = batch
        logits_NC = self.network(images_NCHW)
        loss = self._loss(logits_NC, targets_NC)
        self.log("validation_loss", loss, batch_size=len(images_NCHW))
        self.validated.append((logits_NC.float().sigmoid().cpu(), targets_NC.cpu()))

    def on_validation_epoch_end(self) -> None:
        scores, targets = (torch.cat(rows) for rows in zip(*self.validated, strict=True))
        self.validated.clear()
        scores_NC, truth_NC = scores.double().numpy(), targets.numpy().astype(np.uint8)
        self.cut, best = best_overall_cut(scores_NC, truth_NC)
        predicted_NC = (scores_NC >= self.cut).astype(np.uint8)
        carried_C = truth_NC.any(axis=0)
        self.f1_C = np.where(carried_C, f1_by_class(truth_NC, predicted_NC), np.nan)
        self.log(SELECTED_BY, best, prog_bar=True)

    def configure_optimizers(self) -> Any:
        return build_optimizer(self, self.network.trunk, self.settings.training)

    def _loss(self, logits_NC: torch.Tensor, targets_NC: torch.Tensor) -> torch.Tensor:
        return self.losses.at(self.current_epoch)(logits_NC, targets_NC)
