"""What the run folder of a classifier, or of its folds, holds for others. No torch here."""

from pathlib import Path

from atlas.core.errors import Stage
from atlas.dataset.artifacts import ProbabilitySet, load_probabilities

THRESHOLDS_FILE = "thresholds.json"
HOLD_OUT_FILE = "hold_out.json"
VALIDATION_FILE = "validation_probabilities.h5"
OUT_OF_FOLD_FILE = "out_of_fold_probabilities.h5"
CLASS_F1_FILE = "class_f1.csv"
TEST_FILE = "test_probabilities.h5"
PREDICTED_FOLDER = "probabilities"  # in the cache folder


def load_held_out(folder: Path, stage: Stage | None = None) -> ProbabilitySet:
    """What was said of labelled images that were not learned: by a classifier of its hold-out, by
    folds out of fold. Raises MissingStageError naming the command of `stage`."""
    of_folds = folder / OUT_OF_FOLD_FILE
    path = of_folds if of_folds.exists() else folder / VALIDATION_FILE
    return load_probabilities(path, stage=stage)
