"""Train a classifier and keep the epoch with the best macro F1 on held-out images, or the last.

Axes: N images, C classes, H x W pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import numpy as np
import torch

from atlas.core.files import content_hash
from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import Manifest
from atlas.dataset.metrics import f1_by_class
from atlas.dataset.splits.hold_out import HoldOut, hold_out
from atlas.dataset.store import ImageStore
from atlas.training.callbacks import EpochTable
from atlas.training.layers import measure_channels
from atlas.training.loaders import training_loader, validation_loader
from atlas.training.loop import claim_folder, fit, last_checkpoint, read_checkpoint, what_decides
from atlas.training.optimization import build_optimizer
from atlas.training.precision import with_own_precision
from atlas.training.pretrained import report_start
from atlas.training.samplers import ExternalShare
from atlas.training.settings import TrainingSettings
from atlas.training.weights import weights_hash
from classify.channels import mixing_of
from classify.classifier import Classifier, save_classifier
from classify.decisions.thresholds import best_overall_threshold
from classify.held_out import TrainedClassifier, finish_run, truth_of
from classify.losses.factory import Phases, build_phases
from classify.networks.base import ClassifierNetwork
from classify.networks.factory import build_network
from classify.run_files import CLASS_F1_FILE, PREDICTED_FOLDER
from classify.settings import ClassifierSettings

SELECTED_BY = "validation_macro_f1"


def train_classifier(
    manifest: Manifest, store: ImageStore, settings: ClassifierSettings, folder: Path
) -> TrainedClassifier:
    """Hold out images, train, choose thresholds and predict the test images.

    A run that was stopped is resumed after its last complete epoch. For a finished run, only the
    steps after the training are repeated, so new test images do not require a new training.

    Args:
        manifest: The images and their labels.
        store: The stored images.
        settings: How the classifier is built and trained.
        folder: The run folder.

    Raises:
        UserError: The folder contains a run with other settings or other labelled images.
    """
    share, seed = settings.hold_out_share, settings.training.seed
    split = hold_out(manifest, share=share, seed=seed)
    classifier = train_on(manifest, store, settings, split, folder)
    return finish_run(
        classifier, manifest, store, split, folder,
        kept=cache_folder(folder) / PREDICTED_FOLDER,
        chosen_by={"share_of_groups": share, "seed": seed},
    )  # fmt: skip


def train_on(
    manifest: Manifest,
    store: ImageStore,
    settings: ClassifierSettings,
    split: HoldOut,
    folder: Path,
) -> Classifier:
    """Train on one side of a split and write the classifier to a folder.

    The other side is measured after every epoch and, if the settings say so, chooses the epoch. A
    run that was stopped is resumed; a finished run is only read.

    Args:
        manifest: The images and their labels.
        store: The stored images.
        settings: How the classifier is built and trained.
        split: The images for training and those to hold out.
        folder: The run folder.

    Raises:
        UserError: The folder contains a run with other settings or other labelled images.
    """
    settings = replace(settings, training=with_own_precision(settings.training))
    mixing = mixing_of(settings.channel_recipe, store.channels)
    statistics = measure_channels(store, manifest.labelled.ids, weights_KC=mixing.weights_KC)
    network, started_from = build_network(
        settings, statistics, channels=store.channels, labels=len(manifest.spec.labels)
    )
    decides = what_decides(settings, manifest, store, statistics, started_from)
    sides = (*split.training_ids, "held out", *split.validation_ids)
    claim_folder(folder, {**decides, "hold_out": content_hash(*sides)})
    report_start(started_from)
    module = ClassifierModule(
        network, settings, build_phases(settings, _targets(manifest, split.training_ids))
    )
    checkpoint = fit_split(
        module, manifest, store, split, folder, training=settings.training, monitor=SELECTED_BY,
        mode="max", external_share=settings.external_share,
        tables=[ClassTable(folder, manifest.spec.labels)],
    )  # fmt: skip
    if settings.kept_epoch == "last" and not settings.training.averaged_checkpoints:
        checkpoint = last_checkpoint(folder)
    module.load_state_dict(read_checkpoint(checkpoint)["state_dict"])
    classifier = Classifier(
        network=network,
        settings=settings,
        channels=store.channels,
        labels=manifest.spec.labels,
        image_size_px=store.size_px,
        started_from=started_from,
        weights_hash=weights_hash(network),
    )
    save_classifier(folder, classifier)
    return classifier


def fit_split(
    module: L.LightningModule,
    manifest: Manifest,
    store: ImageStore,
    split: HoldOut,
    folder: Path,
    *,
    training: TrainingSettings,
    monitor: str,
    mode: Literal["max", "min"],
    external_share: float | None = None,
    tables: Sequence[EpochTable] = (),
) -> Path:
    """Fit a module to the training side of a split.

    The targets are labels, which some samplers balance.

    Args:
        module: The module to train.
        manifest: The images and their labels.
        store: The stored images.
        split: The images for training and those to hold out.
        folder: The run folder.
        training: The training settings.
        monitor: Name of the metric that chooses the epoch.
        mode: Whether a higher or a lower metric is better.
        external_share: Share of external images in an epoch; None leaves it to the sampler.
        tables: Tables to write after each epoch.

    Returns:
        The checkpoint of the best epoch, or of the averaged weights; see `fit`.
    """
    learned, held_out = split.training_ids, split.validation_ids
    external = None
    if external_share is not None:
        of_external = [manifest.by_id[image_id].split == "external" for image_id in learned]
        external = ExternalShare(external_N=np.array(of_external, bool), share=external_share)
    return fit(
        module,
        training_loader(store, learned, _targets(manifest, learned), training, external),
        validation_loader(store, held_out, _targets(manifest, held_out), training),
        folder=folder,
        training=training,
        monitor=monitor,
        mode=mode,
        callbacks=tables,
    )


class ClassifierModule(L.LightningModule):
    """Train a classifier and log its validation loss and macro F1 once per epoch.

    The validation loss is that of the current phase. Epochs are compared by macro F1 at the one
    threshold that is best for all classes. One threshold for each class would reward luck with the
    few images of a rare class.
    """

    def __init__(
        self, network: ClassifierNetwork, settings: ClassifierSettings, losses: Phases
    ) -> None:
        super().__init__()
        self.network, self.settings, self.losses = network, settings, losses
        self.validated: list[tuple[torch.Tensor, torch.Tensor]] = []
        # Results of the last validation; F1 is NaN for a class that no image there carries.
        self.threshold, self.f1_C = math.nan, np.full(0, math.nan)

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the loss of a batch, with its two parts if the network has a second loss."""
        images_NCHW, targets_NC, _ = batch
        maps = self.network.maps(images_NCHW)
        first = self._loss(self.network.classify(maps), targets_NC)
        second = self.network.auxiliary_loss(maps, images_NCHW, targets_NC)
        if second is None:
            return first
        loss = first + self.settings.auxiliary_weight * second
        return {"loss": loss, "classification": first.detach(), "auxiliary": second.detach()}

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Log the loss of a batch and collect its probabilities."""
        images_NCHW, targets_NC, _ = batch
        logits_NC = self.network(images_NCHW)
        loss = self._loss(logits_NC, targets_NC)
        self.log("validation_loss", loss, batch_size=len(images_NCHW))
        self.validated.append((logits_NC.float().sigmoid().cpu(), targets_NC.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log the macro F1 of the epoch and store the F1 of each class."""
        scores, targets = (torch.cat(rows) for rows in zip(*self.validated, strict=True))
        self.validated.clear()
        scores_NC, truth_NC = scores.double().numpy(), targets.numpy().astype(np.uint8)
        self.threshold, best = best_overall_threshold(scores_NC, truth_NC)
        predicted_NC = (scores_NC >= self.threshold).astype(np.uint8)
        carried_C = truth_NC.any(axis=0)
        self.f1_C = np.where(carried_C, f1_by_class(truth_NC, predicted_NC), np.nan)
        self.log(SELECTED_BY, best, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the training settings."""
        return build_optimizer(self, self.network.backbone, self.settings.training)

    def _loss(self, logits_NC: torch.Tensor, targets_NC: torch.Tensor) -> torch.Tensor:
        return self.losses.at(self.current_epoch)(logits_NC, targets_NC)


class ClassTable(EpochTable):
    """Write class_f1.csv: the best overall threshold of each epoch, and the F1 of every class.

    The columns of classes contain number and name, so that equal names remain distinct.
    """

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        super().__init__(folder / CLASS_F1_FILE)
        self.columns = [f"{number} {name}" for number, name in enumerate(labels)]

    def figures(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float]:
        """Return the threshold and the F1 of each class."""
        assert isinstance(pl_module, ClassifierModule)
        f1 = dict(zip(self.columns, map(float, pl_module.f1_C), strict=True))
        return {"threshold": pl_module.threshold, **f1}


def _targets(manifest: Manifest, ids: tuple[str, ...]) -> torch.Tensor:
    return torch.from_numpy(truth_of(manifest, ids)).float()
