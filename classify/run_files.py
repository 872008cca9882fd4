"""What the run folder of a classifier, or of its folds, holds for others. No torch here."""

from pathlib import Path

from atlas.dataset.artifact_files import load_probabilities
from atlas.dataset.artifacts import ProbabilitySet

THRESHOLDS_FILE = "thresholds.json"
HOLD_OUT_FILE = "hold_out.json"
VALIDATION_FILE = "validation_probabilities.h5"
OUT_OF_FOLD_FILE = "out_of_fold_probabilities.h5"
CLASS_F1_FILE = "class_f1.csv"
TEST_FILE = "test_probabilities.h5"
PREDICTED_FOLDER = Path("store") / "probabilities"  # beside the run


def load_held_out(folder: Path, *, made_by: str) -> ProbabilitySet:
    """What was said of labelled images that were not learned: by a classifier of its hold-out, by
    folds out of fold. Raises MissingStageError naming `made_by`."""
    of_folds = folder / OUT_OF_FOLD_FILE
    path = of_folds if of_folds.exists() else folder / VALIDATION_FILE
    return load_probabilities(path, made_by=made_by)
