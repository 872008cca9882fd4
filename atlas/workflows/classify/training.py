"""From a data folder to a trained classifier, or to a trunk that is pre-trained for one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import ImageStore, fill_store, native_size_px
from atlas.report.learning_curves import save_class_curves, save_curves
from classify import pretraining, training
from classify.channels import mixing_of
from classify.held_out import TrainedClassifier
from classify.pretraining import PretrainedTrunk
from classify.run_files import CLASS_F1_FILE
from classify.settings import ClassifierSettings, PretrainingSettings

S = TypeVar("S", ClassifierSettings, PretrainingSettings)


def train_classifier(data: Path, out: Path, settings: ClassifierSettings) -> TrainedClassifier:
    """Read the atlas, fill its store beside `out`, and train there.

    Raises DataError for the data folder, UserError for settings that cannot work and where `out`
    holds another run.
    """
    manifest, store, settings = atlas_to_classify(data, out, settings)
    trained = training.train_classifier(manifest, store, settings, out)
    draw_curves(out, {out.name: out})
    return trained


def atlas_to_classify(data: Path, out: Path, settings: S) -> tuple[Manifest, ImageStore, S]:
    """Return the atlas, its store beside `out`, and the settings with its size.

    Raises DataError for the data folder, UserError for a channel recipe that it cannot serve.
    """
    manifest = read_manifest(data)
    mixing_of(settings.channel_recipe, manifest.spec.channels)  # refused before any image is read
    size_px = settings.image_size_px or native_size_px(manifest)
    store = fill_store(manifest, cache_folder(out), size_px=size_px)
    return manifest, store, replace(settings, image_size_px=size_px)


def draw_curves(out: Path, runs: Mapping[str, Path]) -> None:
    """Draw curves.png and per_class_f1.png in `out`, of the run folders by name."""
    save_curves(out / "curves.png", {k: pd.read_csv(f / "metrics.csv") for k, f in runs.items()})
    tables = {name: pd.read_csv(folder / CLASS_F1_FILE) for name, folder in runs.items()}
    save_class_curves(out / "per_class_f1.png", tables)


def pretrain_trunk(data: Path, out: Path, settings: PretrainingSettings) -> PretrainedTrunk:
    """Pre-train on the labelled images of an atlas; otherwise as `train_classifier`."""
    manifest, store, settings = atlas_to_classify(data, out, settings)
    return pretraining.pretrain_trunk(manifest, store, settings, out)
