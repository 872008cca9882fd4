"""From a data folder to a trained classifier, or to a trunk that is pre-trained for one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from atlas.core.errors import UserError
from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import ImageStore, fill_store, native_size_px
from atlas.report.learning_curves import save_class_curves, save_curves
from classify import pretraining, training
from classify.channels import mixing_of
from classify.held_out import TrainedClassifier
from classify.pretraining import PretrainedTrunk
from classify.run_files import CLASS_F1_FILE
from classify.settings import (
    ClassifierSettings,
    PretrainingSettings,
    pretraining_problems,
    problems,
)

S = TypeVar("S", ClassifierSettings, PretrainingSettings)


def train_classifier(data: Path, out: Path, settings: ClassifierSettings) -> TrainedClassifier:
    """Read the atlas, fill its store beside `out`, train there, and print what came of it.

    Raises DataError for the data folder, UserError for settings that cannot work and where `out`
    holds another run.
    """
    if wrong := "; ".join(problems(settings)):
        raise UserError(wrong)
    manifest, store, settings = atlas_to_classify(data, out, settings)
    trained = training.train_classifier(manifest, store, settings, out)
    draw_curves(out, {out.name: out})
    print("\n".join(summary(trained, out)))
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


def summary(trained: TrainedClassifier, out: Path) -> list[str]:
    """The lines to print: start, images, scores, files."""
    classifier, split, scores = trained.classifier, trained.split, trained.scores
    bare = len(trained.thresholds.without_positives)
    return [
        f"started from {classifier.started_from}",
        f"{len(split.training_ids)} images in training, {len(split.validation_ids)} held out, "
        f"{classifier.image_size_px} px, {len(classifier.channels)} channels",
        "macro F1 on the hold-out:",
        f"  {scores.at_half:.4f}  every cut .5",
        f"  {scores.at_overall_cut:.4f}  one cut for all labels, {trained.thresholds.overall:.4f}",
        f"  {scores.at_class_cuts:.4f}  a cut for each label (optimistic: these same images chose "
        f"the cuts{f'; {bare} labels are not among them' if bare else ''})",
        f"wrote {out}: weights, thresholds, curves, mistakes and probabilities of the hold-out"
        + (f" and of {trained.test_images} test images" if trained.test_images else ""),
    ]


def draw_curves(out: Path, runs: Mapping[str, Path]) -> None:
    """Draw curves.png and per_class_f1.png in `out`, of the run folders by name."""
    save_curves(out / "curves.png", {k: pd.read_csv(f / "metrics.csv") for k, f in runs.items()})
    tables = {name: pd.read_csv(folder / CLASS_F1_FILE) for name, folder in runs.items()}
    save_class_curves(out / "per_class_f1.png", tables)


def pretrain_trunk(data: Path, out: Path, settings: PretrainingSettings) -> PretrainedTrunk:
    """Pre-train on the labelled images of an atlas; otherwise as `train_classifier`."""
    if wrong := "; ".join(pretraining_problems(settings)):
        raise UserError(wrong)
    manifest, store, settings = atlas_to_classify(data, out, settings)
    made = pretraining.pretrain_trunk(manifest, store, settings, out)
    print("\n".join(pretraining_summary(made, settings, out)))
    return made


def pretraining_summary(
    made: PretrainedTrunk, settings: PretrainingSettings, out: Path
) -> list[str]:
    """The lines to print: start, error, next step."""
    return [
        f"started from {made.started_from}",
        f"{len(made.split.training_ids)} images in training, {len(made.split.validation_ids)} held "
        f"out: squared error {made.mse:.6f}, where the mean of each channel has "
        f"{made.mse_of_means:.6f}",
        f"wrote {out}; next  python scripts/train_classifier.py --trunk {settings.trunk} "
        f"--channel-recipe {settings.channel_recipe} --weights {out}",
    ]
