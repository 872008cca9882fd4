"""Turn probabilities into labels: thresholds, how they are chosen, and their file.

A label is given where probability >= threshold. The thresholds with the best F1 are exact and not
from a grid: F1 only changes where a threshold passes a score, so it is enough to try the midpoints
between neighbouring scores.

Axes: N labelled images, Q queried images, C classes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atlas.core.contents import listed_after
from atlas.core.errors import DataError, Stage
from atlas.core.files import write_json
from atlas.core.result_files import read_json, understood
from atlas.dataset.metrics import macro_f1
from classify.decisions.layers import Floats, Labels, Layer
from classify.decisions.settings import ThresholdSettings
from classify.run_files import THRESHOLDS_FILE

RULES = {
    True: "probability >= threshold, and always the most likely class",
    False: "probability >= threshold; an image may have no label (keep_top is off)",
}
GRID_POINTS = 10_000
# Number of images of a label at which it is moved half way to the overall threshold; 0 for none.
SHRINKAGES = (0.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Store thresholds that were learned on validation images.

    Attributes:
        per_class: Threshold of each class, float64.
        overall: The one threshold for all classes with the best macro F1.
        without_positives: Classes that no validation image carries; they have the overall
            threshold.
        keep_top: Whether the most likely class of an image is given even if it is below its
            threshold.
    """

    per_class: tuple[float, ...]
    overall: float
    without_positives: tuple[int, ...]
    keep_top: bool = True

    @property
    def per_class_C(self) -> NDArray[np.float64]:
        """Return the threshold of each class as an array."""
        return np.array(self.per_class, np.float64)


def apply_thresholds(probabilities_NC: Floats, thresholds: Thresholds) -> Labels:
    """Return labels as 0 and 1, N x C, by the thresholds and their rule."""
    return predict_labels(probabilities_NC, thresholds.per_class_C, keep_top=thresholds.keep_top)


def predict_labels(
    probabilities_NC: Floats, thresholds_C: Floats, *, keep_top: bool = True
) -> Labels:
    """Return labels as 0 and 1, N x C.

    With `keep_top`, the most likely class of an image is given even if it is below its threshold,
    so no row is empty.

    Example:
        >>> predict_labels(np.array([[0.2, 0.4], [0.9, 0.6]]), np.array([0.5, 0.5])).tolist()
        [[0, 1], [1, 1]]
    """
    # In float64, because a threshold between two neighbouring float32 scores equals neither.
    predicted_NC = (probabilities_NC.astype(np.float64) >= thresholds_C).astype(np.uint8)
    if keep_top:
        predicted_NC[np.arange(len(predicted_NC)), probabilities_NC.argmax(axis=1)] = 1
    return predicted_NC


def choose_thresholds(probabilities_NC: Floats, truth_NC: Labels) -> Thresholds:
    """Return the thresholds with the best F1 on these images; their scores here are optimistic.

    Example:
        >>> probabilities = np.array([[0.75, 0.25], [0.75, 0.5], [0.25, 0.25]])
        >>> choose_thresholds(probabilities, np.array([[1, 0], [1, 1], [0, 0]], np.uint8)).per_class
        (0.5, 0.375)
    """
    return _of_classes(probabilities_NC, truth_NC, lambda *pair: best_threshold(*pair)[0])


def thresholds_by(
    settings: ThresholdSettings, layer: Layer, wanted_C: Floats | None
) -> tuple[Thresholds, Mapping[str, Any]]:
    """Return thresholds, and what else was learned for them, as JSON can store it.

    Args:
        settings: How thresholds are chosen.
        layer: The labelled and the queried rows.
        wanted_C: Wanted share of each class for the method shares; by default, the shares among the
            labelled rows.
    """
    found, kept = _by_way(settings, layer, wanted_C)
    return replace(found, keep_top=settings.keep_top), kept


def decide_by_other_folds(
    probabilities_NC: Floats, truth_NC: Labels, fold_N: NDArray[np.int64], *, keep_top: bool = True
) -> Labels:
    """Decide each fold by the exact thresholds of the other folds.

    No image influences its own labels.
    """
    predicted_NC = np.zeros_like(truth_NC)
    for own, _, exact in _by_other_folds(probabilities_NC, truth_NC, fold_N):
        predicted_NC[own] = apply_thresholds(
            probabilities_NC[own], replace(exact, keep_top=keep_top)
        )
    return predicted_NC


def best_threshold(scores_N: Floats, truth_N: Labels) -> tuple[float, float]:
    """Return the threshold of a class with the best F1, and that F1; among equals, the highest."""
    order = np.argsort(-scores_N, kind="stable")
    f1_N = _f1(np.cumsum(truth_N[order], dtype=np.int64), np.arange(1, len(order) + 1), truth_N)
    return _best(scores_N[order], f1_N)


def best_overall_threshold(probabilities_NC: Floats, truth_NC: Labels) -> tuple[float, float]:
    """Return the one threshold for all classes with the best macro F1, and that macro F1.

    Among equals, it is the highest. The function walks down the scores of all classes, because each
    step changes the F1 of one class only.
    """
    falling_N = np.sort(-probabilities_NC, axis=0, kind="stable")
    order_NC = np.argsort(-probabilities_NC, axis=0, kind="stable")
    hits_NC = np.cumsum(np.take_along_axis(truth_NC, order_NC, axis=0), axis=0, dtype=np.int64)
    taken_N1 = np.arange(1, len(truth_NC) + 1)[:, None]
    gains_NC = np.diff(_f1(hits_NC, taken_N1, truth_NC), axis=0, prepend=0.0)
    walk = np.argsort(falling_N.ravel(), kind="stable")
    macro = np.cumsum(gains_NC.ravel()[walk]) / truth_NC.shape[1]
    return _best(-falling_N.ravel()[walk], macro)


def grid_threshold(scores_N: Floats, truth_N: Labels) -> float:
    """Return the threshold with the best F1 among 0, 1/10000, 2/10000, ..., 9999/10000.

    Among equals, it is the highest.
    """
    grid_G = np.arange(GRID_POINTS) / GRID_POINTS
    order = np.argsort(scores_N, kind="stable")
    rising_N = scores_N[order].astype(np.float64)
    below_G = np.searchsorted(rising_N, grid_G, side="left")
    hits_below = np.concatenate([[0], np.cumsum(truth_N[order], dtype=np.int64)])
    positives = hits_below[-1]
    f1_G = 2 * (positives - hits_below[below_G]) / (len(rising_N) - below_G + positives)
    return float(grid_G[GRID_POINTS - 1 - int(np.argmax(f1_G[::-1]))])


def share_thresholds(probabilities_QC: Floats, wanted_C: Floats, *, keep_top: bool) -> Floats:
    """Return thresholds that give each class to the wanted share of rows, as near as ties allow.

    With `keep_top`, the rows whose most likely class it is always have it and count first; the
    threshold then decides how many other rows get it. No labels are needed.

    Source: the first and the third place of HPA 2018 matched shares in this way, on a grid.
    """
    scores_QC = probabilities_QC.astype(np.float64)
    wanted_C = np.rint(wanted_C * len(scores_QC)).astype(np.int64)
    top_Q = scores_QC.argmax(axis=1)
    found = []
    for c, wanted in enumerate(wanted_C):
        free = top_Q != c if keep_top else np.ones(len(top_Q), bool)
        found.append(_threshold_of_count(scores_QC[free, c], wanted - (~free).sum()))
    return np.array(found)


def shrunk(exact: Thresholds, truth_NC: Labels, k: float) -> Thresholds:
    """Move the threshold of each class towards the overall one.

    The weight of its own threshold is n / (n + k), where n is the number of its images.
    """
    images_C = truth_NC.sum(axis=0, dtype=np.float64)
    own_C = images_C / np.maximum(images_C + k, 1)
    per_class_C = own_C * exact.per_class_C + (1 - own_C) * exact.overall
    return replace(exact, per_class=tuple(per_class_C.tolist()))


def best_shrinkage(layer: Layer, *, keep_top: bool) -> float:
    """Return the k among SHRINKAGES with the best macro F1; among equals, the strongest.

    The thresholds of each fold are chosen on the other folds.
    """
    predicted = {k: np.zeros_like(layer.truth_NC) for k in SHRINKAGES}
    for own, others, exact in _by_other_folds(layer.learned_NC, layer.truth_NC, layer.fold_N):
        for k in SHRINKAGES:
            drawn = replace(shrunk(exact, layer.truth_NC[others], k), keep_top=keep_top)
            predicted[k][own] = apply_thresholds(layer.learned_NC[own], drawn)
    return max(SHRINKAGES, key=lambda k: (macro_f1(layer.truth_NC, predicted[k]), k))


def save_thresholds(
    folder: Path,
    thresholds: Thresholds,
    label_names: tuple[str, ...],
    *,
    held_out: Thresholds | None = None,
) -> None:
    """Write thresholds.json, with the names of the labels beside their thresholds.

    Args:
        folder: The folder to write to.
        thresholds: The thresholds for predictions of test images.
        label_names: The names of the labels.
        held_out: The thresholds for predictions of held-out images; by default, the same.
    """
    held_out = held_out or thresholds
    text = {
        "rule": RULES[thresholds.keep_top],
        "keep_top": thresholds.keep_top,
        "overall": thresholds.overall,
        "per_class": thresholds.per_class,
        "held_out": {"overall": held_out.overall, "per_class": held_out.per_class},
        "labels": label_names,
        "without_positives": {
            "classes": thresholds.without_positives,
            "why": "no validation image carries them; their threshold is the overall one",
        },
    }
    with listed_after(folder / THRESHOLDS_FILE):  # `atlas update` writes to a finished folder
        write_json(folder / THRESHOLDS_FILE, text)


def load_thresholds(
    folder: Path, label_names: tuple[str, ...], *, of: Literal["test", "held_out"] = "test"
) -> Thresholds:
    """Read the thresholds of a classifier, of folds or of an ensemble.

    Args:
        folder: The folder.
        label_names: The names of the labels.
        of: Whether the thresholds are for the predictions of test images, or for those of held-out
            images. They differ if a test image is predicted by several networks.

    Raises:
        MissingStageError: The folder contains no thresholds.
        DataError: The thresholds were made for other labels.
    """
    path = folder / THRESHOLDS_FILE
    text = read_json(path, stage=Stage.CLASSIFIER)
    with understood(path, Stage.CLASSIFIER):
        own = tuple(text["labels"])
        chosen = text if of == "test" else text.get("held_out", text)
        thresholds = Thresholds(
            per_class=tuple(map(float, chosen["per_class"])),
            overall=float(chosen["overall"]),
            without_positives=tuple(text["without_positives"]["classes"]),
            keep_top=text.get("keep_top", True),  # files without it keep the most likely class
        )
    if own != label_names:
        raise DataError(
            str(path), ["made for other labels than the atlas has; train the classifier again"]
        )
    return thresholds


def _by_way(
    settings: ThresholdSettings, layer: Layer, wanted_C: Floats | None
) -> tuple[Thresholds, Mapping[str, Any]]:
    rows = (layer.learned_NC, layer.truth_NC)
    if settings.thresholds == "grid":
        return _of_classes(*rows, grid_threshold), {}
    exact = choose_thresholds(*rows)
    if settings.thresholds == "best_f1":
        return exact, {}
    if settings.thresholds == "overall":
        return shrunk(exact, layer.truth_NC, np.inf), {}
    if settings.thresholds == "shrunk":
        k = settings.shrink
        if k is None:
            k = best_shrinkage(layer, keep_top=settings.keep_top)
        return shrunk(exact, layer.truth_NC, k), {"shrink": k}
    shares_C = layer.truth_NC.mean(axis=0) if wanted_C is None else wanted_C
    asked_QC = layer.asked_QC if len(layer.asked_QC) else layer.learned_NC
    per_class_C = share_thresholds(asked_QC, shares_C, keep_top=settings.keep_top)
    kept = {"wanted_shares": shares_C.tolist()}
    return replace(exact, per_class=tuple(per_class_C.tolist()), without_positives=()), kept


def _of_classes(
    probabilities_NC: Floats, truth_NC: Labels, of_class: Callable[[Floats, Labels], float]
) -> Thresholds:
    """Return thresholds by a function of one class's scores and labels.

    A class without positives has the overall threshold.
    """
    overall, _ = best_overall_threshold(probabilities_NC, truth_NC)
    bare = np.flatnonzero(truth_NC.sum(axis=0) == 0)
    per_class = [
        overall if c in bare else of_class(probabilities_NC[:, c], truth_NC[:, c])
        for c in range(truth_NC.shape[1])
    ]
    return Thresholds(
        per_class=tuple(per_class), overall=overall, without_positives=tuple(bare.tolist())
    )


def _by_other_folds(
    probabilities_NC: Floats, truth_NC: Labels, fold_N: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_], Thresholds]]:
    """Yield for each fold its rows, the other rows, and the exact thresholds of these."""
    for k in np.unique(fold_N):
        own, others = fold_N == k, fold_N != k
        yield own, others, choose_thresholds(probabilities_NC[others], truth_NC[others])


def _threshold_of_count(scores: NDArray[np.float64], wanted: int) -> float:
    """Return the threshold that the wanted number of scores reaches; of two, the higher."""
    values, counts = np.unique(scores, return_counts=True)
    values, taken = values[::-1], np.concatenate([[0], np.cumsum(counts[::-1])])
    best = int(np.argmin(np.abs(taken - wanted)))
    above = values[best - 1] if best else np.nextafter(1.0, 2.0)
    return _between(above, values[best] if best < len(values) else 0.0)


def _f1(hits: NDArray[np.int64], taken: NDArray[np.int64], truth: Labels) -> NDArray[np.float64]:
    return np.asarray(2 * hits / (taken + truth.sum(axis=0, dtype=np.int64)))


def _best(falling: Floats, f1: NDArray[np.float64]) -> tuple[float, float]:
    """Return the best threshold and its F1.

    Args:
        falling: Scores from high to low.
        f1: F1 if all scores down to each one are accepted.
    """
    scores = falling.astype(np.float64)
    last_of_ties = np.append(scores[1:] < scores[:-1], True)
    scores, f1 = scores[last_of_ties], f1[last_of_ties]
    best = int(np.argmax(f1))
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    return _between(scores[best], below), float(f1[best])


def _between(above: float, below: float) -> float:
    """Return the midpoint, or the upper value if the two are neighbouring float64 numbers."""
    middle = (above + below) / 2
    return float(middle if below < middle else above)
