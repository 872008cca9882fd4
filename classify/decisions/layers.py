"""What is decided from: labelled rows to learn from, and rows that are asked about.

Axes: M members, N labelled rows, Q asked rows, C classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

Probabilities = NDArray[np.float32]
Labels = NDArray[np.uint8]

EDGE = 1e-6  # no probability is taken to be surer than that
LEAST_IMAGES = 10  # with a label, and without, to fit anything to that label alone


@dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """Labelled images that no member learned.

    members_MNC: what each of `names` says of them. fold_N: 0, 1, ...; images of a group, named in
    group_N, share it. size_N: of the files, such as "512 x 512".
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    members_MNC: Probabilities
    truth_NC: Labels
    fold_N: NDArray[np.int64]
    group_N: tuple[str, ...]
    size_N: NDArray[np.str_]

    def of_member(self, m: int) -> "HeldOutRows":
        return replace(self, names=(self.names[m],), members_MNC=self.members_MNC[m : m + 1])

    def asked(self) -> "AskedRows":
        """These very rows, asked about as if nobody knew their labels."""
        return AskedRows(ids=self.ids, members_MQC=self.members_MNC, size_Q=self.size_N)


@dataclass(frozen=True, kw_only=True)
class AskedRows:
    """Images whose labels are wanted; members_MQC in the order of the held-out rows' members."""

    ids: tuple[str, ...]
    members_MQC: Probabilities
    size_Q: NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Probabilities to learn decisions from, and others to decide by these.

    learned_NC: of labelled rows, each by what was fitted without its own fold. asked_QC: of the
    rows that are asked about, by what was fitted on all of the labelled ones.
    """

    learned_NC: Probabilities
    truth_NC: Labels
    fold_N: NDArray[np.int64]
    size_N: NDArray[np.str_]
    asked_ids: tuple[str, ...]
    asked_QC: Probabilities
    asked_size_Q: NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was learned of labelled rows. apply: probabilities and sizes to probabilities, row by
    row or as a batch. kept: for the files, as JSON holds it."""

    apply: Callable[[Probabilities, NDArray[np.str_]], Probabilities]
    kept: Mapping[str, Any] = field(default_factory=dict)


Learner = Callable[[Probabilities, Labels, NDArray[np.str_]], Change]


def changed(layer: Layer, learn: Learner) -> tuple[Layer, Change]:
    """Each labelled row by what is learned of other folds, the asked ones by what all teach."""
    learned_NC = layer.learned_NC.copy()
    for k in np.unique(layer.fold_N):
        others, own = layer.fold_N != k, layer.fold_N == k
        change = learn(layer.learned_NC[others], layer.truth_NC[others], layer.size_N[others])
        learned_NC[own] = change.apply(layer.learned_NC[own], layer.size_N[own])
    change = learn(layer.learned_NC, layer.truth_NC, layer.size_N)
    asked_QC = layer.asked_QC
    if len(asked_QC):
        asked_QC = change.apply(asked_QC, layer.asked_size_Q)
    return replace(layer, learned_NC=learned_NC, asked_QC=asked_QC), change


def logits(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Any shape in, same out; finite."""
    return np.asarray(logit(np.clip(probabilities.astype(np.float64), EDGE, 1 - EDGE)))


def classes_to_fit(truth_NC: Labels) -> tuple[int, ...]:
    """Those that enough of the rows carry, and enough do not."""
    with_C = truth_NC.sum(axis=0, dtype=np.int64)
    enough_C = np.minimum(with_C, len(truth_NC) - with_C) >= LEAST_IMAGES
    return tuple(np.flatnonzero(enough_C).tolist())
