"""Labels that were missed and labels that were added, as tables. Axes: N images, C classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import ProbabilitySet, save_table
from atlas.dataset.labels import format_labels
from atlas.dataset.metrics import f1_by_class
from classify.decisions.thresholds import Thresholds, decide

IMAGES_FILE = "missed_and_added.csv"
CLASSES_FILE = "by_class.csv"
CONFUSED_FILE = "confused.csv"

Labels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """images: a row for every image, most mistakes first. classes: a row for each class. confused:
    a row for each two classes of which one was missed where the other was added, commonest first.
    """

    images: pd.DataFrame
    classes: pd.DataFrame
    confused: pd.DataFrame


def find_mistakes(
    probabilities: ProbabilitySet, truth_NC: Labels, thresholds: Thresholds, names: Sequence[str]
) -> Mistakes:
    """names: of the classes. Labels are given by `decide`."""
    predicted_NC = decide(probabilities.probabilities_NC, thresholds)
    missed_NC, added_NC = truth_NC > predicted_NC, predicted_NC > truth_NC
    rows = [
        _image_row(image_id, scores_C, thresholds, truth_C, missed_C, added_C)
        for image_id, scores_C, truth_C, missed_C, added_C in zip(
            probabilities.ids, probabilities.probabilities_NC, truth_NC, missed_NC, added_NC,
            strict=True,
        )
    ]  # fmt: skip
    order = np.lexsort((np.array(probabilities.ids), -(missed_NC | added_NC).sum(axis=1)))
    return Mistakes(
        images=pd.DataFrame([rows[n] for n in order]),
        classes=_class_table(truth_NC, predicted_NC, thresholds, names),
        confused=_confused_table(missed_NC, added_NC, names),
    )


def save_mistakes(folder: Path, mistakes: Mistakes) -> None:
    save_table(folder / IMAGES_FILE, mistakes.images)
    save_table(folder / CLASSES_FILE, mistakes.classes)
    save_table(folder / CONFUSED_FILE, mistakes.confused)


def _image_row(
    image_id: str,
    scores_C: NDArray[np.float32],
    thresholds: Thresholds,
    truth_C: Labels,
    missed_C: NDArray[np.bool_],
    added_C: NDArray[np.bool_],
) -> dict[str, str]:
    row = {"Id": image_id, "labels": _numbers(truth_C)}
    for name, wrong_C in (("missed", missed_C), ("added", added_C)):
        row[name] = _numbers(wrong_C)
        row[f"{name}_probabilities"] = _figures(scores_C[wrong_C])
        row[f"{name}_cuts"] = _figures(thresholds.per_class_C[wrong_C])
    return row


def _class_table(
    truth_NC: Labels, predicted_NC: Labels, thresholds: Thresholds, names: Sequence[str]
) -> pd.DataFrame:
    right_C = (truth_NC & predicted_NC).sum(axis=0)
    images_C, given_C = truth_NC.sum(axis=0), predicted_NC.sum(axis=0)
    return pd.DataFrame(
        {
            "label": np.arange(len(names)),
            "name": list(names),
            "images": images_C,
            "given": given_C,
            "right": right_C,
            "missed": images_C - right_C,
            "added": given_C - right_C,
            "f1": f1_by_class(truth_NC, predicted_NC),
            "cut": thresholds.per_class_C,
        }
    )


def _confused_table(
    missed_NC: NDArray[np.bool_], added_NC: NDArray[np.bool_], names: Sequence[str]
) -> pd.DataFrame:
    counts_CC = missed_NC.astype(np.int64).T @ added_NC.astype(np.int64)
    pairs = sorted(np.argwhere(counts_CC).tolist(), key=lambda pair: -counts_CC[tuple(pair)])
    return pd.DataFrame(
        [(m, names[m], a, names[a], counts_CC[m, a]) for m, a in pairs],
        columns=["missed", "missed_name", "added", "added_name", "images"],
    )


def _numbers(chosen_C: NDArray[np.bool_] | Labels) -> str:
    return format_labels(tuple(int(c) for c in np.flatnonzero(chosen_C)))


def _figures(values: NDArray[np.floating]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
