"""Ways from probabilities to cuts beside the exact ones of `classify/decisions/thresholds.py`.

Axes: N labelled rows, Q rows that are asked about, C classes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.metrics import macro_f1
from classify.decisions.layers import Labels, Layer
from classify.decisions.settings import ThresholdSettings
from classify.decisions.thresholds import (
    Thresholds,
    choose_thresholds,
    decide,
    with_cuts_of_classes,
)

Floats = NDArray[np.floating[Any]]

GRID_POINTS = 10_000
# Images of a label that weigh as much as the overall cut; 0 leaves the exact cuts as they are.
SHRINKAGES = (0.0, 3.0, 10.0, 30.0, 100.0, 300.0)


def choose_cuts(
    settings: ThresholdSettings, layer: Layer, wanted_C: Floats | None
) -> tuple[Thresholds, Mapping[str, Any]]:
    """Cuts, and what else was learned on the way, as JSON holds it.

    wanted_C: of `shares`, in place of the shares among the labelled rows.
    """
    found, kept = _cuts(settings, layer, wanted_C)
    return replace(found, keep_top=settings.keep_top), kept


def _cuts(
    settings: ThresholdSettings, layer: Layer, wanted_C: Floats | None
) -> tuple[Thresholds, Mapping[str, Any]]:
    rows = (layer.learned_NC, layer.truth_NC)
    if settings.thresholds == "grid":
        return with_cuts_of_classes(*rows, grid_cut), {}
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
    cuts_C = share_cuts(asked_QC, shares_C, keep_top=settings.keep_top)
    kept = {"wanted_shares": shares_C.tolist()}
    return replace(exact, per_class=tuple(cuts_C.tolist()), without_positives=()), kept


def grid_cut(scores_N: Floats, truth_N: Labels) -> float:
    """The cut with the best F1 among 0, 1/10000, 2/10000, ...; of equal ones the highest."""
    grid_G = np.arange(GRID_POINTS) / GRID_POINTS
    order = np.argsort(scores_N, kind="stable")
    rising_N = scores_N[order].astype(np.float64)
    below_G = np.searchsorted(rising_N, grid_G, side="left")
    hits_below = np.concatenate([[0], np.cumsum(truth_N[order], dtype=np.int64)])
    positives = hits_below[-1]
    f1_G = 2 * (positives - hits_below[below_G]) / (len(rising_N) - below_G + positives)
    return float(grid_G[GRID_POINTS - 1 - int(np.argmax(f1_G[::-1]))])


def share_cuts(probabilities_QC: Floats, wanted_C: Floats, *, keep_top: bool) -> Floats:
    """Cuts by which each class is given to the wanted share of these rows, as near as ties allow.

    keep_top: rows whose likeliest class it is count first, and cannot be refused it; the cut then
    says how many others get it too. Needs no labels. Source: the winner of HPA 2018 and its third
    place met shares so, on a grid.
    """
    scores_QC = probabilities_QC.astype(np.float64)
    wanted_C = np.rint(wanted_C * len(scores_QC)).astype(np.int64)
    top_Q = scores_QC.argmax(axis=1)
    cuts = []
    for c, wanted in enumerate(wanted_C):
        free = top_Q != c if keep_top else np.ones(len(top_Q), bool)
        cuts.append(_cut_of_count(scores_QC[free, c], wanted - (~free).sum()))
    return np.array(cuts)


def _cut_of_count(scores: NDArray[np.float64], wanted: int) -> float:
    """The cut at or above which the number of scores is nearest to `wanted`; of two the higher."""
    values, counts = np.unique(scores, return_counts=True)
    values, taken = values[::-1], np.concatenate([[0], np.cumsum(counts[::-1])])
    best = int(np.argmin(np.abs(taken - wanted)))
    above = values[best - 1] if best else np.nextafter(1.0, 2.0)
    below = values[best] if best < len(values) else 0.0
    middle = (above + below) / 2
    return float(middle if below < middle else above)


def shrunk(exact: Thresholds, truth_NC: Labels, k: float) -> Thresholds:
    """Each class's cut drawn toward the overall one: its own weighs n / (n + k), n its images."""
    images_C = truth_NC.sum(axis=0, dtype=np.float64)
    own_C = images_C / np.maximum(images_C + k, 1)
    cuts_C = own_C * exact.per_class_C + (1 - own_C) * exact.overall
    return replace(exact, per_class=tuple(cuts_C.tolist()))


def best_shrinkage(layer: Layer, *, keep_top: bool) -> float:
    """Of SHRINKAGES the one with the best macro F1 where other folds chose the cuts; of equal ones
    the strongest."""
    predicted = {k: np.zeros_like(layer.truth_NC) for k in SHRINKAGES}
    for own, others, exact in _cuts_of_others(layer, keep_top):
        for k in SHRINKAGES:
            cuts = shrunk(exact, layer.truth_NC[others], k)
            predicted[k][own] = decide(layer.learned_NC[own], cuts)
    return max(SHRINKAGES, key=lambda k: (macro_f1(layer.truth_NC, predicted[k]), k))


def f1_at_cuts_of_others(layer: Layer, *, keep_top: bool = True) -> float:
    """Macro F1 of the labelled rows, where other folds chose exact cuts."""
    predicted_NC = np.zeros_like(layer.truth_NC)
    for own, _, cuts in _cuts_of_others(layer, keep_top):
        predicted_NC[own] = decide(layer.learned_NC[own], cuts)
    return macro_f1(layer.truth_NC, predicted_NC)


def _cuts_of_others(
    layer: Layer, keep_top: bool
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_], Thresholds]]:
    """For each fold its rows, the other rows, and the exact cuts of these."""
    found = []
    for k in np.unique(layer.fold_N):
        own, others = layer.fold_N == k, layer.fold_N != k
        exact = choose_thresholds(layer.learned_NC[others], layer.truth_NC[others])
        found.append((own, others, replace(exact, keep_top=keep_top)))
    return found
