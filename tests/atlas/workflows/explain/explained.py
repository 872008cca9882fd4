"""A run made by hand: t0 is a rotated copy of a, and t1 of t0; t2 is nothing known."""

from pathlib import Path

import numpy as np
import pandas as pd

from atlas.core.files import write_json
from atlas.dataset.artifacts import (
    LEAK_COLUMNS,
    MATCH_COLUMNS,
    ORIGIN_COLUMNS,
    ProbabilitySet,
    save_probabilities,
    save_table,
)
from atlas.synthetic.edits import rotated
from atlas.workflows.leaks.calibration import save_calibration, save_certificate
from classify.decisions.thresholds import Thresholds, save_thresholds
from tests.atlas.workflows.leaks.calibrations import calibrated
from tests.conftest import write_field, write_tiny_atlas
from tests.textures import texture

TESTS = ("t0", "t1", "t2")
LABELS = ("zero", "one", "<two>")
CHANNELS = ("red", "green")
REASON = "The image is a copy of a: registration score 99.0, confidence 0.999."
ALIGNED = (90, 100, 90.0, "no", 1.0, 1.0, "0.00 0.00 1.00 1.00", "no", "0 1")
NOT_ALIGNED = (0, 0, *[None] * 7)
PROVENANCE = {"of": "this classifier"}


def write_data(folder: Path) -> Path:
    data = write_tiny_atlas(
        folder, test=TESTS, channels=CHANNELS, labels=LABELS, size=(96, 96),
        identities={"a": "antibody 1", "c": "antibody 1"},
    )  # fmt: skip
    write_field(data / "train", "a", texture(1), CHANNELS)
    write_field(data / "test", "t0", rotated(texture(1), 3), CHANNELS)
    return data


def write_leaks(run: Path) -> None:
    calibration = calibrated()
    save_calibration(run / "leaks", calibration)
    certificate = calibration.certificate(np.array([99.0, 98.0, 0.1]), claims=1)
    save_certificate(run / "leaks", certificate)
    matches = [
        ("t0", "test", "b", "train", 0.95, 0.2, "", np.nan, *NOT_ALIGNED),
        ("t0", "test", "a", "train", 0.9, 99.0, "same_image", 0.9, *ALIGNED),
        ("t0", "test", "c", "train", 0.8, 97.0, "same_image", 0.6, *ALIGNED),
        ("t0", "test", "t1", "test", 0.99, 98.0, "same_image", 0.9, *ALIGNED),
        ("t2", "test", "b", "train", 0.4, 0.1, "", np.nan, *NOT_ALIGNED),
    ]
    save_table(run / "leaks" / "matches.csv", pd.DataFrame(matches, columns=list(MATCH_COLUMNS)))
    claims = [("t0", "a", "same_image", 0.9, 99.0, np.nan, 0.9, "0", "transfer", REASON)]
    save_table(run / "leaks" / "leaks.csv", pd.DataFrame(claims, columns=list(LEAK_COLUMNS)))


def write_classifier(folder: Path) -> None:
    rows = np.array([[0.1, 0.9, 0.2], [0.5, 0.3, 0.2], [0.1, 0.2, 0.15]], np.float32)
    saved = ProbabilitySet(ids=TESTS, probabilities_NC=rows, provenance=PROVENANCE)
    save_probabilities(folder / "test_probabilities.h5", saved)
    thresholds = Thresholds(per_class=(0.3, 0.7, 0.5), overall=0.5, without_positives=(2,))
    save_thresholds(folder, thresholds, LABELS)


def write_submission(run: Path) -> None:
    folder = run / "submission"
    for name, first in (("submission.csv", "0"), ("submission_without_transfer.csv", "1")):
        table = pd.DataFrame({"Id": TESTS, "Predicted": [first, "0", "1"]})
        save_table(folder / name, table)
    origins = [
        ("t0", "same_image", "a", 0.9, "transfer", 0.0123, REASON),
        ("t1", "classifier", "", np.nan, "", np.nan, "No known image matches."),
        ("t2", "classifier", "", np.nan, "", np.nan, "No known image matches."),
    ]
    save_table(folder / "origins.csv", pd.DataFrame(origins, columns=list(ORIGIN_COLUMNS)))
    write_json(folder / "summary.json", {"classifier": PROVENANCE})


def write_run(folder: Path) -> tuple[Path, Path]:
    data, run = write_data(folder / "data"), folder / "run"
    write_leaks(run)
    write_classifier(run / "classifier")
    write_submission(run)
    return data, run
