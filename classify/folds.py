"""A classifier for each fold, and what they say together. Axis N: images."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from atlas.artifact_files import load_probabilities, save_probabilities, save_table
from atlas.artifacts import ProbabilitySet
from atlas.folds import Fold
from atlas.label_folds import not_learned
from atlas.manifest import Manifest
from atlas.split import HoldOut
from atlas.store import ImageStore
from classify.classifier import CARD_FILE, Classifier, load_classifier
from classify.fold_scores import fold_summary
from classify.held_out import TrainedClassifier, finish_run, judge
from classify.prediction import mean_over
from classify.prediction_settings import PredictionSettings
from classify.run_files import OUT_OF_FOLD_FILE, TEST_FILE
from classify.settings import ClassifierSettings
from classify.training import train_on

MADE_BY = "python scripts/train_folds.py"
SUMMARY_FILE = "summary.csv"


@dataclass(frozen=True, kw_only=True)
class FoldRun:
    """How folds are trained and predicted.

    chosen: names of the folds to train now; of the others what is finished is taken. chosen_by:
    how the folds came about. kept: where probabilities are kept row by row. tell: is given a line
    before each fold.
    """

    settings: ClassifierSettings
    prediction: PredictionSettings
    chosen: Collection[str]
    chosen_by: Mapping[str, Any]
    kept: Path
    tell: Callable[[str], None]


def train_folds(
    manifest: Manifest, store: ImageStore, folds: Sequence[Fold], how: FoldRun, folder: Path
) -> pd.DataFrame:
    """Trains the chosen folds, a run folder each below `folder`, and joins all that are finished.

    Gives the rows of summary.csv, see `fold_summary`. A stopped run goes on, a finished fold is
    only read; UserError as for `train_classifier`.
    """
    finished: dict[str, TrainedClassifier] = {}
    for fold in folds:
        own, split = folder / fold.name, _sides(fold)
        classifier = _classifier(manifest, store, fold, how, own)
        if classifier is not None:
            finished[fold.name] = finish_run(
                classifier, manifest, store, split, own,
                kept=how.kept, chosen_by={"fold": fold.name, **how.chosen_by},
                prediction=how.prediction,
            )  # fmt: skip
    if manifest.of("test").ids:
        save_probabilities(folder / TEST_FILE, _mean_of_tests(folder, finished))
    joined = _out_of_fold(manifest, finished)
    save_probabilities(folder / OUT_OF_FOLD_FILE, joined)
    _, scores = judge(joined, manifest, folder)
    table = fold_summary(manifest, finished, scores)
    save_table(folder / SUMMARY_FILE, table)
    return table


def _classifier(
    manifest: Manifest, store: ImageStore, fold: Fold, how: FoldRun, folder: Path
) -> Classifier | None:
    """Trained now or before; None for a fold that is to wait."""
    if fold.name not in how.chosen:
        finished = (folder / CARD_FILE).exists()
        return load_classifier(folder, made_by=MADE_BY) if finished else None
    how.tell(f"{fold.name}: {len(fold.training_ids)} images train, {len(fold.test_ids)} are tested")
    if bare := not_learned(manifest, fold):
        names = ", ".join(manifest.spec.labels[label] for label in bare)
        how.tell(f"{fold.name} cannot learn {names}: no training image of it carries them")
    return train_on(manifest, store, how.settings, _sides(fold), folder)


def _sides(fold: Fold) -> HoldOut:
    return HoldOut(training_ids=fold.training_ids, validation_ids=fold.test_ids)


def _mean_of_tests(folder: Path, finished: Mapping[str, TrainedClassifier]) -> ProbabilitySet:
    return mean_over(
        {name: load_probabilities(folder / name / TEST_FILE, made_by=MADE_BY) for name in finished}
    )


def _out_of_fold(manifest: Manifest, finished: Mapping[str, TrainedClassifier]) -> ProbabilitySet:
    """Of every image that a finished fold tests, in the manifest's order."""
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
