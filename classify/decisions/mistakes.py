"""Tabulate the labels that a classifier missed and the labels that it added wrongly.

Axes: N images, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import ProbabilitySet, save_table
from atlas.dataset.labels import format_labels
from atlas.dataset.metrics import f1_by_class
from classify.decisions.layers import Labels
from classify.decisions.thresholds import Thresholds, apply_thresholds

IMAGES_FILE = "missed_and_added.csv"
CLASSES_FILE = "by_class.csv"
CONFUSED_FILE = "confused.csv"


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """Store tables of mistakes.

    Attributes:
        images: A row for every image, most mistakes first.
        classes: A row for each class.
        confused: A row for each pair of classes of which one was missed where the other was added,
            most frequent first.
    """

    images: pd.DataFrame
    classes: pd.DataFrame
    confused: pd.DataFrame


def find_mistakes(
    probabilities: ProbabilitySet, truth_NC: Labels, thresholds: Thresholds, names: Sequence[str]
) -> Mistakes:
    """Return the mistakes of `apply_thresholds` on labelled images.

    Args:
        probabilities: Probabilities of the images.
        truth_NC: Labels of the images as 0 and 1.
        thresholds: The thresholds.
        names: Names of the classes.
    """
    predicted_NC = apply_thresholds(probabilities.probabilities_NC, thresholds)
    wrong_NC = {"missed": truth_NC > predicted_NC, "added": predicted_NC > truth_NC}
    return Mistakes(
        images=_image_table(probabilities, truth_NC, wrong_NC, thresholds),
        classes=_class_table(truth_NC, predicted_NC, thresholds, names),
        confused=_confused_table(wrong_NC["missed"], wrong_NC["added"], names),
    )


def save_mistakes(folder: Path, mistakes: Mistakes) -> None:
    """Write the three tables to a folder."""
    save_table(folder / IMAGES_FILE, mistakes.images)
    save_table(folder / CLASSES_FILE, mistakes.classes)
    save_table(folder / CONFUSED_FILE, mistakes.confused)


def _image_table(
    probabilities: ProbabilitySet,
    truth_NC: Labels,
    wrong_NC: Mapping[str, NDArray[np.bool_]],
    thresholds: Thresholds,
) -> pd.DataFrame:
    mistakes_N = sum(wrong.sum(axis=1) for wrong in wrong_NC.values())
    rows = []
    for n in np.lexsort((np.array(probabilities.ids), -mistakes_N)):
        row = {"Id": probabilities.ids[n], "labels": _numbers(truth_NC[n])}
        for kind, wrong in wrong_NC.items():
            row[kind] = _numbers(wrong[n])
            row[f"{kind}_probabilities"] = _figures(probabilities.probabilities_NC[n, wrong[n]])
            row[f"{kind}_cuts"] = _figures(thresholds.per_class_C[wrong[n]])
        rows.append(row)
    return pd.DataFrame(rows)


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
            "threshold": thresholds.per_class_C,
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
