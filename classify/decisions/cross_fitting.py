"""Fit ensembles and decisions so that no image influences its own score.

Both loops use the same folds of the held-out rows. An ensemble that leaves out `{k}` predicts fold
k. The thresholds and priors for fold k are learned from every other fold j, as predicted by an
ensemble that leaves out `{j, k}`. Nothing that decides fold k has seen it, and each fit is used
twice, so F folds need F (F + 1) / 2 + 1 fits.

The probabilities of the members are used as they are. As always in stacking, the probabilities of
fold j come from a network that may have been trained on images of fold k.

The thresholds for queried rows are moved to the scale of their probabilities, which are means over
the networks of each member; see `classify/decisions/mean_thresholds.py`.

Axes: M members, N labelled rows, Q queried rows, C classes, K networks of each member.
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
from classify.decisions.mean_thresholds import thresholds_for_mean
from classify.decisions.settings import How, Prior, ThresholdSettings
from classify.decisions.thresholds import Thresholds, apply_thresholds, thresholds_by


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """Store the fitted ensembles of one way to combine members.

    Attributes:
        rows: The labelled rows.
        nested: For each fold, a layer that decides it and was fitted without it.
        final: A layer that was fitted on all rows and decides the queried images.
        same: A layer that was fitted on all rows and decides the same rows, which is optimistic.
        combiner: The combiner that was fitted on all rows.
    """

    rows: HeldOutRows
    nested: Mapping[int, Layer]
    final: Layer
    same: Layer
    combiner: Combiner


@dataclass(frozen=True, kw_only=True)
class Honest:
    """Store the macro F1 of the labelled rows and the labels they were given.

    Attributes:
        nested_NC: Labels given by decisions that have not seen the image.
        optimistic_NC: Labels given by decisions that were fitted on the same rows.
        nested: Macro F1 of `nested_NC`.
        low: Lower end of its 95% confidence interval.
        high: Upper end of its 95% confidence interval.
        optimistic: Macro F1 of `optimistic_NC`.
    """

    nested_NC: Labels
    optimistic_NC: Labels
    nested: float
    low: float
    high: float
    optimistic: float

    @property
    def optimism(self) -> float:
        """Return how much the optimistic score exceeds the nested one."""
        return self.optimistic - self.nested


@dataclass(frozen=True, kw_only=True)
class Decided:
    """Store the final probabilities and thresholds.

    Attributes:
        held_out_NC: Probabilities of the labelled rows, each fitted without the row's own fold.
        asked_QC: Probabilities of the queried rows.
        networks_KQC: The same from one network of each member at a time.
        thresholds: The thresholds for the queried rows.
        held_out_thresholds: The thresholds for the labelled rows, which single networks predict.
        kept: What the thresholds and priors learned, as JSON can store it.
    """

    held_out_NC: Probabilities
    asked_QC: Probabilities
    networks_KQC: Probabilities
    thresholds: Thresholds
    held_out_thresholds: Thresholds
    kept: Mapping[str, Any]


def cross_fit(rows: HeldOutRows, asked: AskedRows, how: How, *, seed: int) -> CrossFitted:
    """Fit an ensemble for each one and each two folds that are left out, and one on all folds.

    If one fit of a layer has too few images of a class, the whole layer uses the mean of the
    members for that class.

    Args:
        rows: The labelled rows.
        asked: The queried rows.
        how: How members are combined.
        seed: Seed of the combiners.
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
    """Return the nested and the optimistic macro F1 of one way to decide.

    Args:
        fitted: The fitted ensembles.
        thresholds: How thresholds are chosen.
        priors: The priors to apply.
        wanted_C: Wanted share of each class, see `thresholds_by`.
        resamples: Number of bootstrap resamples of groups of images for the interval.
        seed: Seed of the bootstrap.
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
    """Return the final decision, learned from all labelled rows.

    Args:
        fitted: The fitted ensembles.
        thresholds: How thresholds are chosen.
        priors: The priors to apply.
        wanted_C: Wanted share of each class, see `thresholds_by`.
    """
    layer, of_priors = with_priors(fitted.final, priors, keep_top=thresholds.keep_top)
    found, of_thresholds = thresholds_by(thresholds, layer, wanted_C)
    if thresholds.thresholds == "shares":  # they are chosen on the queried rows themselves
        own = replace(layer, asked_QC=layer.learned_NC)
        held_out, for_asked = thresholds_by(thresholds, own, wanted_C)[0], found
    else:
        held_out = found
        for_asked = thresholds_for_mean(found, layer.networks_KQC, layer.asked_QC)
    return Decided(
        held_out_NC=layer.learned_NC,
        asked_QC=layer.asked_QC,
        networks_KQC=layer.networks_KQC,
        thresholds=for_asked,
        held_out_thresholds=held_out,
        kept={"priors": of_priors, "thresholds": of_thresholds},
    )


def _layer(
    rows: HeldOutRows, by_fold: Mapping[int, Combiner], asked: AskedRows, of_all: Combiner
) -> Layer:
    """Return a layer of labelled rows and queried rows.

    Args:
        rows: The labelled rows.
        by_fold: The combiner for each fold of these rows.
        asked: The queried rows.
        of_all: The combiner for the queried rows.
    """
    learned_NC = np.empty(rows.truth_NC.shape, np.float32)
    for fold, combiner in by_fold.items():
        own = rows.fold_N == fold
        learned_NC[own] = combiner(rows.members_MNC[:, own])
    bare = sorted({c for combiner in (*by_fold.values(), of_all) for c in combiner.without})
    learned_NC[:, bare] = mean(rows.members_MNC)[:, bare]

    def combined(members_MQC: Probabilities) -> Probabilities:
        joined_QC = of_all(members_MQC)
        joined_QC[:, bare] = mean(members_MQC)[:, bare]
        return joined_QC

    return Layer(
        learned_NC=learned_NC, truth_NC=rows.truth_NC, fold_N=rows.fold_N, size_N=rows.size_N,
        asked_QC=combined(asked.members_MQC),
        networks_KQC=np.stack([combined(one_MQC) for one_MQC in asked.networks_KMQC]),
        asked_size_Q=asked.size_Q,
    )  # fmt: skip
