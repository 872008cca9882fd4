"""Training a classifier on one hold-out: the epoch with the best macro F1 there, or the last.

Axes: N images, C classes.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from atlas.files import content_hash
from atlas.manifest import Manifest
from atlas.split import HoldOut, hold_out
from atlas.store import ImageStore
from classify.channels import mixing_of
from classify.class_table import ClassTable
from classify.classifier import Classifier, save_classifier
from classify.held_out import TrainedClassifier, finish_run, truth_of
from classify.losses.choose import build_phases
from classify.module import SELECTED_BY, ClassifierModule
from classify.network import build_network
from classify.run_files import PREDICTED_FOLDER
from classify.settings import ClassifierSettings
from engine.bfloat16 import with_own_precision
from engine.loaders import training_loader, validation_loader
from engine.mixing import ExternalShare
from engine.normalisation import measure_channels
from engine.training import claim_folder, fit, last_checkpoint, read_checkpoint, what_decides
from engine.weights import weights_hash


def train_classifier(
    manifest: Manifest, store: ImageStore, settings: ClassifierSettings, folder: Path
) -> TrainedClassifier:
    """Holds images out, trains, chooses thresholds, predicts; fills `folder`.

    A run that was stopped goes on behind its last epoch. Of a finished one only what follows the
    training is made again: new test images train nothing anew. Raises UserError where the folder
    holds a run with other settings or other labelled images.
    """
    share, seed = settings.hold_out_share, settings.training.seed
    split = hold_out(manifest, share=share, seed=seed)
    return finish_run(
        train_on(manifest, store, settings, split, folder),
        manifest,
        store,
        split,
        folder,
        kept=folder.parent / PREDICTED_FOLDER,
        chosen_by={"share_of_groups": share, "seed": seed},
    )


def train_on(
    manifest: Manifest,
    store: ImageStore,
    settings: ClassifierSettings,
    split: HoldOut,
    folder: Path,
) -> Classifier:
    """Learns from the training side of `split` and keeps the classifier in `folder`.

    The other side is measured after every epoch, and chooses the epoch where the settings say so.
    A stopped run goes on, a finished one is only read; UserError as for `train_classifier`.
    """
    settings = replace(settings, training=with_own_precision(settings.training))
    mixing = mixing_of(settings.channel_recipe, store.channels)
    statistics = measure_channels(store, manifest.labelled.ids, weights_KC=mixing.weights_KC)
    network, started_from = build_network(
        settings, statistics, channels=store.channels, labels=len(manifest.spec.labels)
    )
    decides = what_decides(settings, manifest, statistics, started_from)
    sides = (*split.training_ids, "held out", *split.validation_ids)
    claim_folder(folder, {**decides, "hold_out": content_hash(*sides)})
    losses = build_phases(settings, _targets(manifest, split.training_ids))
    module = ClassifierModule(network, settings, losses)
    checkpoint = _fit(module, manifest, store, settings, split, folder)
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


def _fit(
    module: ClassifierModule,
    manifest: Manifest,
    store: ImageStore,
    settings: ClassifierSettings,
    split: HoldOut,
    folder: Path,
) -> Path:
    """The checkpoint to keep."""
    training = settings.training
    learned, held_out = split.training_ids, split.validation_ids
    external = _external_share(manifest, learned, settings.external_share)
    result = fit(
        module,
        training_loader(store, learned, _targets(manifest, learned), training, external),
        validation_loader(store, held_out, _targets(manifest, held_out), training),
        folder=folder,
        training=training,
        monitor=SELECTED_BY,
        mode="max",
        tables=[ClassTable(folder, manifest.spec.labels)],
    )
    if settings.kept_epoch == "best" or training.averaged_checkpoints:
        return result
    return last_checkpoint(folder)


def _external_share(
    manifest: Manifest, ids: tuple[str, ...], share: float | None
) -> ExternalShare | None:
    if share is None:
        return None
    external = [manifest.by_id[image_id].split == "external" for image_id in ids]
    return ExternalShare(external_N=np.array(external, bool), share=share)


def _targets(manifest: Manifest, ids: tuple[str, ...]) -> torch.Tensor:
    return torch.from_numpy(truth_of(manifest, ids)).float()
