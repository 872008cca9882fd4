"""Macro F1 of folds, one by one and together. Axes: N images, C classes."""

import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.manifest import Manifest
from atlas.metrics import macro_f1
from classify.held_out import HoldOutScores, TrainedClassifier, truth_of
from classify.thresholds import choose_thresholds, predict_labels

OTHERS = "at_cuts_of_others"
SCORES = {
    "at_half": "cuts of .5",
    "at_overall_cut": "one cut",
    "at_class_cuts": "a cut a label",
    OTHERS: "others' cuts",
}


def fold_summary(
    manifest: Manifest, finished: Mapping[str, TrainedClassifier], together: HoldOutScores
) -> pd.DataFrame:
    """A row for each fold, then `out_of_fold`, and mean and standard deviation of the folds.

    finished: by name, at least one. together: of all tested images at cuts chosen on them.
    Scores as in `HoldOutScores`, and `at_cuts_of_others`: a cut for each class, chosen on what the
    other folds test, so that no image has a say in its own; empty for a single fold.
    """
    truths = [truth_of(manifest, run.held_out.ids) for run in finished.values()]
    others, others_together = _at_cuts_of_others(list(finished.values()), truths)
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


def _at_cuts_of_others(
    runs: list[TrainedClassifier], truths: list[NDArray[np.uint8]]
) -> tuple[list[float], float]:
    """Macro F1 of each fold and of all together, where other folds chose the cuts."""
    if len(runs) < 2:
        return [math.nan], math.nan
    predicted = []
    for n, run in enumerate(runs):
        others = [m for m in range(len(runs)) if m != n]
        thresholds = choose_thresholds(
            np.concatenate([runs[m].held_out.probabilities_NC for m in others]),
            np.concatenate([truths[m] for m in others]),
        )
        predicted.append(predict_labels(run.held_out.probabilities_NC, thresholds.per_class_C))
    each = [macro_f1(*pair) for pair in zip(truths, predicted, strict=True)]
    return each, macro_f1(np.concatenate(truths), np.concatenate(predicted))
