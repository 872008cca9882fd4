"""From probabilities to labels: the cuts with the best F1. Axes: N images, C classes.

Cuts are exact, not from a grid: F1 changes only where a cut passes a score, so half-way between
each two neighbouring scores is every cut there is. A label is given where probability >= cut.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import DataError, Stage
from atlas.core.files import read_json, write_json

Floats = NDArray[np.floating[Any]]
Truth = NDArray[np.uint8]

RULES = {
    True: "probability >= cut, and always the likeliest class",
    False: "probability >= cut; an image may have no label (keep_top is off)",
}


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Cuts learned on validation images.

    per_class: one cut a class, float64.
    overall: the one cut for all classes that has the best macro F1.
    without_positives: classes that no validation image carries; theirs is the overall cut.
    keep_top: whether the likeliest class of an image is given whatever its cut.
    """

    per_class: tuple[float, ...]
    overall: float
    without_positives: tuple[int, ...]
    keep_top: bool = True

    @property
    def per_class_C(self) -> NDArray[np.float64]:
        return np.array(self.per_class, np.float64)


def choose_thresholds(probabilities_NC: Floats, truth_NC: Truth) -> Thresholds:
    """The cuts with the best F1 on these images; the same images then flatter them."""
    return with_cuts_of_classes(probabilities_NC, truth_NC, lambda *pair: best_cut(*pair)[0])


def with_cuts_of_classes(
    probabilities_NC: Floats, truth_NC: Truth, cut: Callable[[Floats, Truth], float]
) -> Thresholds:
    """cut: of one class's scores and truth; a class without positives takes the overall one."""
    overall, _ = best_overall_cut(probabilities_NC, truth_NC)
    bare = np.flatnonzero(truth_NC.sum(axis=0) == 0)
    per_class = [
        overall if c in bare else cut(probabilities_NC[:, c], truth_NC[:, c])
        for c in range(truth_NC.shape[1])
    ]
    return Thresholds(
        per_class=tuple(per_class), overall=overall, without_positives=tuple(bare.tolist())
    )


def best_cut(scores_N: Floats, truth_N: Truth) -> tuple[float, float]:
    """The cut of one class with the best F1, and that F1; of equal ones the highest cut."""
    order = np.argsort(-scores_N, kind="stable")
    f1_N = _f1(np.cumsum(truth_N[order], dtype=np.int64), np.arange(1, len(order) + 1), truth_N)
    return _best(scores_N[order], f1_N)


def best_overall_cut(probabilities_NC: Floats, truth_NC: Truth) -> tuple[float, float]:
    """The one cut for all classes with the best macro F1, and that; of equal ones the highest.

    Walks down all scores of all classes: each step changes the F1 of one class only.
    """
    falling_N = np.sort(-probabilities_NC, axis=0, kind="stable")
    order_NC = np.argsort(-probabilities_NC, axis=0, kind="stable")
    hits_NC = np.cumsum(np.take_along_axis(truth_NC, order_NC, axis=0), axis=0, dtype=np.int64)
    taken_N1 = np.arange(1, len(truth_NC) + 1)[:, None]
    gains_NC = np.diff(_f1(hits_NC, taken_N1, truth_NC), axis=0, prepend=0.0)
    walk = np.argsort(falling_N.ravel(), kind="stable")
    macro = np.cumsum(gains_NC.ravel()[walk]) / truth_NC.shape[1]
    return _best(-falling_N.ravel()[walk], macro)


def decide(probabilities_NC: Floats, thresholds: Thresholds) -> Truth:
    """0/1, N x C, by the cuts and the rule of `thresholds`."""
    return predict_labels(probabilities_NC, thresholds.per_class_C, keep_top=thresholds.keep_top)


def predict_labels(
    probabilities_NC: Floats, thresholds_C: Floats, *, keep_top: bool = True
) -> Truth:
    """0/1, N x C. keep_top: the likeliest class of an image is kept whatever its cut, so that no
    row is empty."""
    # float64, because a cut between two neighbouring float32 scores is neither of them.
    predicted_NC = (probabilities_NC.astype(np.float64) >= thresholds_C).astype(np.uint8)
    if keep_top:
        predicted_NC[np.arange(len(predicted_NC)), probabilities_NC.argmax(axis=1)] = 1
    return predicted_NC


def save_thresholds(path: Path, thresholds: Thresholds, label_names: tuple[str, ...]) -> None:
    """JSON with the names of the labels beside their cuts."""
    text = {
        "rule": RULES[thresholds.keep_top],
        "keep_top": thresholds.keep_top,
        "overall": thresholds.overall,
        "per_class": list(thresholds.per_class),
        "labels": list(label_names),
        "without_positives": {
            "classes": list(thresholds.without_positives),
            "why": "no validation image carries them; their cut is the overall one",
        },
    }
    write_json(path, text)


def load_thresholds(
    path: Path, label_names: tuple[str, ...], stage: Stage | None = None
) -> Thresholds:
    """Read thresholds; raises DataError where they are of other labels."""
    text = read_json(path, stage=stage)
    if tuple(text["labels"]) != label_names:
        raise DataError(str(path), ["made for other labels than the atlas has; train again"])
    return Thresholds(
        per_class=tuple(text["per_class"]),
        overall=text["overall"],
        without_positives=tuple(text["without_positives"]["classes"]),
        keep_top=text.get("keep_top", True),  # files without it keep the likeliest class
    )


def _f1(hits: NDArray[np.int64], taken: NDArray[np.int64], truth: Truth) -> NDArray[np.float64]:
    return np.asarray(2 * hits / (taken + truth.sum(axis=0, dtype=np.int64)))


def _best(falling: Floats, f1: NDArray[np.float64]) -> tuple[float, float]:
    """falling: scores from high to low; f1: when all scores down to this one are taken."""
    scores = falling.astype(np.float64)
    last_of_ties = np.append(scores[1:] < scores[:-1], True)
    scores, f1 = scores[last_of_ties], f1[last_of_ties]
    best = int(np.argmax(f1))
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    middle = (scores[best] + below) / 2
    # Between neighbouring float64 there is no middle: the upper score itself is the cut.
    return float(middle if below < middle else scores[best]), float(f1[best])
