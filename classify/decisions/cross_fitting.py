"""Ensembles and decisions whose score is that of images which had no say in them.

Folds are those of the held-out rows, and one division serves both loops. With `{k}` left out, an
ensemble is asked about fold k; thresholds and priors are then learned from every other fold j, by
an ensemble that had left out `{j, k}`. Nothing that decides fold k has seen it, and each fit serves
twice: K (K + 1) / 2 + 1 fits in all.

The members themselves are taken as they are: a member's probabilities of fold j come from a network
that may have trained on images of fold k, as always in stacking.

Axes: M members, N labelled rows, Q asked rows, C classes, K folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from atlas.dataset.metrics import bootstrap_macro_f1, macro_f1
from classify.decisions.ensembles import fit_combiner, mean
from classify.decisions.label_priors import with_priors
from classify.decisions.layers import (
    AskedRows,
    Combiner,
    Floats,
    HeldOutRows,
    Labels,
    Layer,
    Probabilities,
)
from classify.decisions.settings import How, Prior, ThresholdSettings
from classify.decisions.thresholds import Thresholds, apply_thresholds, thresholds_by


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """One way of joining members.

    nested: a layer for each fold, which asks about it. final: learned from all rows, asks about the
    images whose labels are wanted. same: what was fitted on all rows says of these very rows, on
    both sides: it flatters. combiner: fitted on all rows.
    """

    rows: HeldOutRows
    nested: Mapping[int, Layer]
    final: Layer
    same: Layer
    combiner: Combiner


@dataclass(frozen=True, kw_only=True)
class Honest:
    """Macro F1 of the labelled rows, and their labels as decided.

    nested: nothing that decides an image has seen it; low, high: its 95% interval. optimistic:
    fitted, decided and scored on the same rows.
    """

    nested_NC: Labels
    optimistic_NC: Labels
    nested: float
    low: float
    high: float
    optimistic: float

    @property
    def optimism(self) -> float:
        return self.optimistic - self.nested


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What goes out: probabilities that no row had a say in of its own, of the labelled rows and of
    the asked ones, and the thresholds. kept: what thresholds and priors learned, as JSON holds it.
    """

    held_out_NC: Probabilities
    asked_QC: Probabilities
    thresholds: Thresholds
    kept: Mapping[str, Any]


def cross_fit(rows: HeldOutRows, asked: AskedRows, how: How, *, seed: int) -> CrossFitted:
    """Fit an ensemble for every one and every two folds left out, and one that leaves out none.

    A class that one fit of a layer had too few images of has the members' mean in all of it.
    """
    folds = np.unique(rows.fold_N).tolist()
    fits: dict[frozenset[int], Combiner] = {}

    def without(*left_out: int) -> Combiner:
        key = frozenset(left_out)
        if key not in fits:
            learned = rows.where(~np.isin(rows.fold_N, left_out))
            fits[key] = fit_combiner(how, learned.members_MNC, learned.truth_NC, seed=seed)
        return fits[key]

    def nested(fold: int) -> Layer:
        by_fold = {other: without(other, fold) for other in folds if other != fold}
        own = rows.where(rows.fold_N == fold).asked()
        return _layer(rows.where(rows.fold_N != fold), by_fold, own, without(fold))

    return CrossFitted(
        rows=rows,
        nested={fold: nested(fold) for fold in folds},
        final=_layer(rows, {fold: without(fold) for fold in folds}, asked, without()),
        same=_layer(rows, dict.fromkeys(folds, without()), rows.asked(), without()),
        combiner=without(),
    )


def honest_scores(
    fitted: CrossFitted,
    thresholds: ThresholdSettings,
    priors: Sequence[Prior] = (),
    *,
    wanted_C: Floats | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Honest:
    """Return nested and optimistic macro F1 of one way to decide; interval over groups of images.

    wanted_C: as for `thresholds_by`.
    """
    rows, nested_NC = fitted.rows, np.zeros_like(fitted.rows.truth_NC)
    for fold, one in fitted.nested.items():
        layer, _ = with_priors(one, priors, keep_top=thresholds.keep_top)
        found, _ = thresholds_by(thresholds, layer, wanted_C)
        nested_NC[rows.fold_N == fold] = apply_thresholds(layer.asked_QC, found)
    same, _ = with_priors(fitted.same, priors, keep_top=thresholds.keep_top)
    flattered, _ = thresholds_by(thresholds, replace(same, learned_NC=same.asked_QC), wanted_C)
    optimistic_NC = apply_thresholds(same.asked_QC, flattered)
    low, high = bootstrap_macro_f1(
        rows.truth_NC, nested_NC, groups_N=rows.group_N, resamples=resamples, seed=seed
    )
    return Honest(
        nested_NC=nested_NC,
        optimistic_NC=optimistic_NC,
        nested=macro_f1(rows.truth_NC, nested_NC),
        low=low,
        high=high,
        optimistic=macro_f1(rows.truth_NC, optimistic_NC),
    )


def decided(
    fitted: CrossFitted,
    thresholds: ThresholdSettings,
    priors: Sequence[Prior] = (),
    *,
    wanted_C: Floats | None = None,
) -> Decided:
    """Return the way to decide, learned from all labelled rows."""
    layer, of_priors = with_priors(fitted.final, priors, keep_top=thresholds.keep_top)
    found, of_thresholds = thresholds_by(thresholds, layer, wanted_C)
    return Decided(
        held_out_NC=layer.learned_NC,
        asked_QC=layer.asked_QC,
        thresholds=found,
        kept={"priors": of_priors, "thresholds": of_thresholds},
    )


def _layer(
    rows: HeldOutRows, by_fold: Mapping[int, Combiner], asked: AskedRows, of_all: Combiner
) -> Layer:
    """by_fold: which combiner speaks of which fold of `rows`; of_all: of the asked rows."""
    learned_NC = np.empty(rows.truth_NC.shape, np.float32)
    for fold, combiner in by_fold.items():
        own = rows.fold_N == fold
        learned_NC[own] = combiner(rows.members_MNC[:, own])
    asked_QC = of_all(asked.members_MQC)
    bare = sorted({c for combiner in (*by_fold.values(), of_all) for c in combiner.without})
    learned_NC[:, bare] = mean(rows.members_MNC)[:, bare]
    asked_QC[:, bare] = mean(asked.members_MQC)[:, bare]
    return Layer(
        learned_NC=learned_NC, truth_NC=rows.truth_NC, fold_N=rows.fold_N, size_N=rows.size_N,
        asked_QC=asked_QC, asked_size_Q=asked.size_Q,
    )  # fmt: skip
