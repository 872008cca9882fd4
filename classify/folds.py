"""Train a classifier for each fold, combine their probabilities, and score them.

Axes: N images, C classes.
"""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from atlas.dataset.artifacts import ProbabilitySet, save_probabilities, save_table
from atlas.dataset.manifest import Manifest
from atlas.dataset.metrics import macro_f1
from atlas.dataset.splits.folds import Fold
from atlas.dataset.splits.hold_out import HoldOut
from atlas.dataset.splits.label_folds import not_learned
from atlas.dataset.store import ImageStore
from classify.classifier import Classifier, load_classifier
from classify.decisions.mean_thresholds import thresholds_for_mean
from classify.decisions.thresholds import Thresholds, decide_by_other_folds, save_thresholds
from classify.held_out import HoldOutScores, TrainedClassifier, finish_run, judge, truth_of
from classify.prediction import mean_over
from classify.run_files import OUT_OF_FOLD_FILE, SUMMARY_FILE, TEST_FILE, classifiers_in, load_test
from classify.settings import ClassifierSettings, PredictionSettings
from classify.training import train_on

LOGGER = logging.getLogger(__name__)
OTHERS = "at_thresholds_of_others"
SCORES = {
    "at_half": "thresholds of 0.5",
    "at_overall_threshold": "one threshold",
    "at_class_thresholds": "a threshold for each label",
    OTHERS: "others' thresholds",
}


@dataclass(frozen=True, kw_only=True)
class FoldRun:
    """Store how folds are trained and predicted.

    Attributes:
        settings: Settings of the classifiers.
        prediction: Settings of the prediction.
        chosen: Names of the folds to train now. Other folds are used if they are finished.
        chosen_by: How the folds were made, for the run folder.
        kept: Folder that keeps probabilities row by row.
    """

    settings: ClassifierSettings
    prediction: PredictionSettings
    chosen: Collection[str]
    chosen_by: Mapping[str, Any]
    kept: Path


def train_folds(
    manifest: Manifest, store: ImageStore, folds: Sequence[Fold], how: FoldRun, folder: Path
) -> pd.DataFrame:
    """Train the chosen folds and combine all folds that are finished.

    Each fold has a run folder below `folder`. A run that was stopped is resumed; a finished fold is
    only read.

    Args:
        manifest: The images and their labels.
        store: The stored images.
        folds: All folds.
        how: How the folds are trained and predicted.
        folder: Folder of the whole run.

    Returns:
        The rows of summary.csv, see `fold_summary`.

    Raises:
        UserError: A run folder contains a run with other settings or other images.
    """
    finished: dict[str, TrainedClassifier] = {}
    for fold in folds:
        own, split = folder / fold.name, _sides(fold)
        if fold.name in how.chosen:
            classifier = _trained(manifest, store, fold, how, own)
        elif classifiers_in(own):
            classifier = load_classifier(own)
        else:
            continue  # it is pending
        finished[fold.name] = finish_run(
            classifier, manifest, store, split, own,
            kept=how.kept, chosen_by={"fold": fold.name, **how.chosen_by},
            prediction=how.prediction,
        )  # fmt: skip
    joined = _out_of_fold(manifest, finished)
    save_probabilities(folder / OUT_OF_FOLD_FILE, joined)
    thresholds, scores = judge(joined, manifest, folder)
    if manifest.of("test").ids:
        tests = {name: load_test(folder / name) for name in finished}
        save_mean(folder, tests, thresholds, manifest.spec.labels)
    else:
        save_thresholds(folder, thresholds, manifest.spec.labels)
    table = fold_summary(manifest, finished, scores)
    save_table(folder / SUMMARY_FILE, table)
    return table


def save_mean(
    folder: Path,
    tests: Mapping[str, ProbabilitySet],
    held_out: Thresholds,
    label_names: tuple[str, ...],
) -> None:
    """Write the mean probabilities of the test images, and the thresholds for them.

    Args:
        folder: Folder of the whole run.
        tests: Probabilities of the test images from each fold, by its name.
        held_out: Thresholds that were chosen out of fold, so on single networks.
        label_names: The names of the labels.
    """
    mean = mean_over(tests)
    networks_KQC = np.stack([one.aligned_to(mean.ids).probabilities_NC for one in tests.values()])
    thresholds = thresholds_for_mean(held_out, networks_KQC, mean.probabilities_NC)
    save_probabilities(folder / TEST_FILE, mean)
    save_thresholds(folder, thresholds, label_names, held_out=held_out)


def fold_summary(
    manifest: Manifest, finished: Mapping[str, TrainedClassifier], together: HoldOutScores
) -> pd.DataFrame:
    """Return a row for each fold, a row for all folds together, and their mean and deviation.

    The row of all folds together is called `out_of_fold`. The scores are those of `HoldOutScores`,
    and `at_thresholds_of_others`, which uses thresholds that were chosen on the images that the
    other folds test; it is empty for a single fold.

    Args:
        manifest: The images and their labels.
        finished: The finished folds by name, at least one.
        together: Scores of all tested images, at thresholds that were chosen on them.
    """
    others, others_together = _by_other_folds(manifest, list(finished.values()))
    rows = [
        {
            "fold": name,
            "kept_epoch": run.classifier.settings.kept_epoch,
            "training_images": len(run.split.training_ids),
            "tested_images": len(run.split.validation_ids),
            **asdict(run.scores),
            OTHERS: score,
        }
        for (name, run), score in zip(finished.items(), others, strict=True)
    ]
    table = pd.DataFrame(rows)
    out_of_fold = {
        "fold": "out_of_fold",
        "tested_images": table["tested_images"].sum(),
        **asdict(together),
        OTHERS: others_together,
    }
    figures = table[list(SCORES)].astype(float)
    spread = [{"fold": name, **figures.agg(name)} for name in ("mean", "std")]
    whole = pd.DataFrame([*rows, out_of_fold, *spread])
    return whole.astype({"training_images": "Int64", "tested_images": "Int64"})


def _trained(
    manifest: Manifest, store: ImageStore, fold: Fold, how: FoldRun, folder: Path
) -> Classifier:
    training, tested = len(fold.training_ids), len(fold.test_ids)
    LOGGER.info(f"{fold.name}: {training} images for training, {tested} for testing")
    if bare := not_learned(manifest, fold):
        names = ", ".join(manifest.spec.labels[label] for label in bare)
        LOGGER.info(f"{fold.name} cannot learn {names}: none of its training images carry them")
    return train_on(manifest, store, how.settings, _sides(fold), folder)


def _sides(fold: Fold) -> HoldOut:
    return HoldOut(training_ids=fold.training_ids, validation_ids=fold.test_ids)


def _out_of_fold(manifest: Manifest, finished: Mapping[str, TrainedClassifier]) -> ProbabilitySet:
    """Return the probabilities of all images that finished folds test, in the manifest's order."""
    sets = [run.held_out for run in finished.values()]
    joined = ProbabilitySet(
        ids=tuple(image_id for one in sets for image_id in one.ids),
        probabilities_NC=np.concatenate([one.probabilities_NC for one in sets]),
        provenance={
            "out_of_fold": {name: run.held_out.provenance for name, run in finished.items()}
        },
        image_keys=tuple(key for one in sets for key in one.image_keys),
    )
    tested = set(joined.ids)
    return joined.aligned_to([image_id for image_id in manifest.ids if image_id in tested])


def _by_other_folds(
    manifest: Manifest, runs: Sequence[TrainedClassifier]
) -> tuple[list[float], float]:
    """Return the macro F1 of each fold and of all together, at thresholds of the other folds."""
    if len(runs) < 2:
        return [math.nan], math.nan
    fold_N = np.repeat(range(len(runs)), [len(run.held_out.ids) for run in runs])
    truth_NC = np.concatenate([truth_of(manifest, run.held_out.ids) for run in runs])
    said_NC = np.concatenate([run.held_out.probabilities_NC for run in runs])
    predicted_NC = decide_by_other_folds(said_NC, truth_NC, fold_N)
    each = [macro_f1(truth_NC[fold_N == k], predicted_NC[fold_N == k]) for k in range(len(runs))]
    return each, macro_f1(truth_NC, predicted_NC)
