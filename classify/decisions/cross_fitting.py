"""Ensembles and decisions whose score is that of images which had no say in them.

Folds are those of the held-out rows, and one division serves both loops. With `{k}` left out, an
ensemble is asked about fold k; what cuts and priors are then learned from is every other fold j, by
an ensemble that had left out `{j, k}`. Nothing that decides fold k has seen it, and each fit serves
twice: K (K + 1) / 2 + 1 fits in all.

The members themselves are taken as they are: a member's probabilities of fold j come from a network
that may have trained on images of fold k, as always in stacking.

Axes: M members, N labelled rows, Q asked rows, C classes, K folds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import positions_of
from atlas.dataset.metrics import bootstrap_macro_f1, macro_f1
from classify.decisions.ensembles import Combiner, fit_combiner, mean
from classify.decisions.label_priors import with_priors
from classify.decisions.layers import AskedRows, HeldOutRows, Labels, Layer, Probabilities
from classify.decisions.settings import How, Prior, ThresholdSettings
from classify.decisions.threshold_ways import choose_cuts
from classify.decisions.thresholds import Thresholds, decide

Shares = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """One way of joining members.

    nested: a layer for each fold, which asks about it. final: learned from all rows, asks about the
    images whose labels are wanted. same: what was fitted on all rows says of these very rows, on
    both sides: it flatters. combiner: fitted on all rows.
    """

    rows: HeldOutRows
    nested: tuple[Layer, ...]
    final: Layer
    same: Layer
    combiner: Combiner


@dataclass(frozen=True, kw_only=True)
class Honest:
    """Macro F1 of the labelled rows, and their labels as decided.

    nested: nothing that decides an image has seen it; low, high: its 95 % interval. optimistic:
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
    those asked about, and the cuts. kept: what cuts and priors learned, as JSON holds it."""

    held_out_NC: Probabilities
    asked_QC: Probabilities
    thresholds: Thresholds
    kept: Mapping[str, Any]


def cross_fit(rows: HeldOutRows, asked: AskedRows, how: How, *, seed: int) -> CrossFitted:
    """Fits an ensemble for every one and every two folds left out, and one that leaves out none.

    A class that one fit of a layer had too few images of has the members' mean in all of it.
    """
    folds = np.unique(rows.fold_N).tolist()
    fits: dict[frozenset[int], Combiner] = {}

    def without(*left_out: int) -> Combiner:
        key = frozenset(left_out)
        if key not in fits:
            kept_N = ~np.isin(rows.fold_N, left_out)
            fits[key] = fit_combiner(how, rows.members_MNC[:, kept_N], rows.truth_NC[kept_N],
                                     seed=seed)  # fmt: skip
        return fits[key]

    nested = [
        _layer(_but(rows, k), _others(k, folds, without), _only(rows, k), without(k)) for k in folds
    ]
    everything = without()
    return CrossFitted(
        rows=rows,
        nested=tuple(nested),
        final=_layer(rows, {j: without(j) for j in folds}, asked, everything),
        same=_layer(rows, dict.fromkeys(folds, everything), rows.asked(), everything),
        combiner=everything,
    )


def honest_scores(
    fitted: CrossFitted,
    cuts: ThresholdSettings,
    priors: Sequence[Prior] = (),
    *,
    wanted_C: Shares | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Honest:
    """Nested and optimistic macro F1 of one way to decide; interval over groups of images.

    wanted_C: as for `choose_cuts`.
    """
    rows = fitted.rows
    prior_layers = [with_priors(one, priors, keep_top=cuts.keep_top)[0] for one in fitted.nested]
    nested_NC = _joined(rows.ids, prior_layers, lambda one: choose_cuts(cuts, one, wanted_C)[0])
    same, _ = with_priors(fitted.same, priors, keep_top=cuts.keep_top)
    flattered = replace(same, learned_NC=same.asked_QC)
    optimistic_NC = decide(same.asked_QC, choose_cuts(cuts, flattered, wanted_C)[0])
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
    cuts: ThresholdSettings,
    priors: Sequence[Prior] = (),
    *,
    wanted_C: Shares | None = None,
) -> Decided:
    """The way to decide, learned from all labelled rows."""
    layer, of_priors = with_priors(fitted.final, priors, keep_top=cuts.keep_top)
    thresholds, of_cuts = choose_cuts(cuts, layer, wanted_C)
    return Decided(
        held_out_NC=layer.learned_NC,
        asked_QC=layer.asked_QC,
        thresholds=thresholds,
        kept={"priors": of_priors, "cuts": of_cuts},
    )


def _layer(
    rows: HeldOutRows, by_fold: Mapping[int, Combiner], asked: AskedRows, of_all: Combiner
) -> Layer:
    """by_fold: who speaks of which fold of `rows`; of_all: of what is asked."""
    said_NC = np.empty(rows.truth_NC.shape, np.float32)
    for fold, combiner in by_fold.items():
        own = rows.fold_N == fold
        said_NC[own] = combiner(rows.members_MNC[:, own])
    asked_QC = of_all(asked.members_MQC)
    bare = sorted({c for combiner in (*by_fold.values(), of_all) for c in combiner.without})
    said_NC[:, bare] = mean(rows.members_MNC)[:, bare]
    asked_QC[:, bare] = mean(asked.members_MQC)[:, bare]
    return Layer(
        learned_NC=said_NC, truth_NC=rows.truth_NC, fold_N=rows.fold_N, size_N=rows.size_N,
        asked_ids=asked.ids, asked_QC=asked_QC, asked_size_Q=asked.size_Q,
    )  # fmt: skip


def _others(
    fold: int, folds: Sequence[int], without: Callable[..., Combiner]
) -> dict[int, Combiner]:
    return {other: without(other, fold) for other in folds if other != fold}


def _but(rows: HeldOutRows, fold: int) -> HeldOutRows:
    keep = rows.fold_N != fold
    return replace(
        rows,
        ids=tuple(np.array(rows.ids, object)[keep]),
        members_MNC=rows.members_MNC[:, keep],
        truth_NC=rows.truth_NC[keep],
        fold_N=rows.fold_N[keep],
        group_N=tuple(np.array(rows.group_N, object)[keep]),
        size_N=rows.size_N[keep],
    )


def _only(rows: HeldOutRows, fold: int) -> AskedRows:
    own = rows.fold_N == fold
    return AskedRows(
        ids=tuple(np.array(rows.ids, object)[own]),
        members_MQC=rows.members_MNC[:, own],
        size_Q=rows.size_N[own],
    )


def _joined(
    ids: Sequence[str], layers: Sequence[Layer], cuts_of: Callable[[Layer], Thresholds]
) -> Labels:
    """What each layer decides of the rows it asks about, in the order of ids."""
    decisions = [decide(layer.asked_QC, cuts_of(layer)) for layer in layers]
    asked = [image_id for layer in layers for image_id in layer.asked_ids]
    return np.concatenate(decisions)[positions_of(asked, ids, what="decisions")]
