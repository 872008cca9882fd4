"""A classifier for each fold, what they say together, and their scores.

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
from classify.decisions.thresholds import decide_by_other_folds
from classify.held_out import HoldOutScores, TrainedClassifier, finish_run, judge, truth_of
from classify.prediction import mean_over
from classify.run_files import OUT_OF_FOLD_FILE, SUMMARY_FILE, TEST_FILE, classifiers_in, load_test
from classify.settings import ClassifierSettings, PredictionSettings
from classify.training import train_on

LOGGER = logging.getLogger(__name__)
OTHERS = "at_thresholds_of_others"
SCORES = {
    "at_half": "thresholds of .5",
    "at_overall_threshold": "one threshold",
    "at_class_thresholds": "a threshold for each label",
    OTHERS: "others' thresholds",
}


@dataclass(frozen=True, kw_only=True)
class FoldRun:
    """How folds are trained and predicted.

    chosen: names of the folds to train now; of the others what is finished is taken. chosen_by:
    how the folds came about. kept: where probabilities are kept row by row.
    """

    settings: ClassifierSettings
    prediction: PredictionSettings
    chosen: Collection[str]
    chosen_by: Mapping[str, Any]
    kept: Path


def train_folds(
    manifest: Manifest, store: ImageStore, folds: Sequence[Fold], how: FoldRun, folder: Path
) -> pd.DataFrame:
    """Train the chosen folds, a run folder each below `folder`, and join all that are finished.

    Returns the rows of summary.csv, see `fold_summary`. A stopped run is resumed, a finished fold
    only read; UserError as for `train_classifier`.
    """
    finished: dict[str, TrainedClassifier] = {}
    for fold in folds:
        own, split = folder / fold.name, _sides(fold)
        if fold.name in how.chosen:
            classifier = _trained(manifest, store, fold, how, own)
        elif classifiers_in(own):
            classifier = load_classifier(own)
        else:
            continue  # it waits until it is chosen
        finished[fold.name] = finish_run(
            classifier, manifest, store, split, own,
            kept=how.kept, chosen_by={"fold": fold.name, **how.chosen_by},
            prediction=how.prediction,
        )  # fmt: skip
    if manifest.of("test").ids:
        tests = {name: load_test(folder / name) for name in finished}
        save_probabilities(folder / TEST_FILE, mean_over(tests))
    joined = _out_of_fold(manifest, finished)
    save_probabilities(folder / OUT_OF_FOLD_FILE, joined)
    _, scores = judge(joined, manifest, folder)
    table = fold_summary(manifest, finished, scores)
    save_table(folder / SUMMARY_FILE, table)
    return table


def fold_summary(
    manifest: Manifest, finished: Mapping[str, TrainedClassifier], together: HoldOutScores
) -> pd.DataFrame:
    """Return a row for each fold, then `out_of_fold`, and mean and standard deviation of the folds.

    finished: by name, at least one. together: of all tested images at thresholds chosen on them.
    Scores are those of `HoldOutScores`, and `at_thresholds_of_others`: a threshold for each class, chosen
    on what the other folds test; empty for a single fold.
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
    LOGGER.info(f"{fold.name}: {training} images train, {tested} are tested")
    if bare := not_learned(manifest, fold):
        names = ", ".join(manifest.spec.labels[label] for label in bare)
        LOGGER.info(f"{fold.name} cannot learn {names}: no training image of it carries them")
    return train_on(manifest, store, how.settings, _sides(fold), folder)


def _sides(fold: Fold) -> HoldOut:
    return HoldOut(training_ids=fold.training_ids, validation_ids=fold.test_ids)


def _out_of_fold(manifest: Manifest, finished: Mapping[str, TrainedClassifier]) -> ProbabilitySet:
    """Probabilities of every image that a finished fold tests, in the manifest's order."""
    sets = [run.held_out for run in finished.values()]
    joined = ProbabilitySet(
        ids=tuple(image_id for one in sets for image_id in one.ids),
        probabilities_NC=np.concatenate([one.probabilities_NC for one in sets]),
        provenance={
            "out_of_fold": {name: run.held_out.provenance for name, run in finished.items()}
        },
    )
    tested = set(joined.ids)
    return joined.aligned_to([image_id for image_id in manifest.ids if image_id in tested])


def _by_other_folds(
    manifest: Manifest, runs: Sequence[TrainedClassifier]
) -> tuple[list[float], float]:
    """Macro F1 of each fold and of all together, where other folds chose the thresholds."""
    if len(runs) < 2:
        return [math.nan], math.nan
    fold_N = np.repeat(range(len(runs)), [len(run.held_out.ids) for run in runs])
    truth_NC = np.concatenate([truth_of(manifest, run.held_out.ids) for run in runs])
    said_NC = np.concatenate([run.held_out.probabilities_NC for run in runs])
    predicted_NC = decide_by_other_folds(said_NC, truth_NC, fold_N)
    each = [macro_f1(truth_NC[fold_N == k], predicted_NC[fold_N == k]) for k in range(len(runs))]
    return each, macro_f1(truth_NC, predicted_NC)
