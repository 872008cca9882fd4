"""What decisions are learned from and applied to, and what they learn.

Axes: M members, N labelled rows, Q asked rows, C classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

Probabilities = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.uint8]
Sizes = NDArray[np.str_]

EDGE = 1e-6  # no probability is taken to be surer than that
LEAST_IMAGES = 10  # with a label, and without, to fit anything to that label alone


@dataclass(frozen=True, kw_only=True)
class AskedRows:
    """Images whose labels are wanted; members_MQC in the order of the held-out rows' members."""

    members_MQC: Probabilities
    size_Q: Sizes


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
    size_N: Sizes

    def of_member(self, m: int) -> "HeldOutRows":
        return replace(self, names=(self.names[m],), members_MNC=self.members_MNC[m : m + 1])

    def where(self, kept_N: NDArray[np.bool_]) -> "HeldOutRows":
        return replace(
            self,
            ids=tuple(np.array(self.ids, object)[kept_N]),
            members_MNC=self.members_MNC[:, kept_N],
            truth_NC=self.truth_NC[kept_N],
            fold_N=self.fold_N[kept_N],
            group_N=tuple(np.array(self.group_N, object)[kept_N]),
            size_N=self.size_N[kept_N],
        )

    def asked(self) -> AskedRows:
        """Return these very rows as if nobody knew their labels."""
        return AskedRows(members_MQC=self.members_MNC, size_Q=self.size_N)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Probabilities to learn decisions from, and others to decide by these.

    learned_NC: of labelled rows, each by what was fitted without its own fold. asked_QC: of the
    asked rows, by what was fitted on all of the labelled ones.
    """

    learned_NC: Probabilities
    truth_NC: Labels
    fold_N: NDArray[np.int64]
    size_N: Sizes
    asked_QC: Probabilities
    asked_size_Q: Sizes


@dataclass(frozen=True, kw_only=True)
class Combiner:
    """One probability from several members'.

    combine: M x Q x C to Q x C. without: classes of too few images, of which it gives the mean.
    kept: what was learned, as JSON holds it; empty where that is too much.
    """

    combine: Callable[[Probabilities], Floats]
    without: tuple[int, ...] = ()
    kept: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, members_MQC: Probabilities) -> Probabilities:
        if members_MQC.shape[1] == 0:
            return np.empty(members_MQC.shape[1:], np.float32)
        return np.clip(self.combine(members_MQC), 0, 1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of probabilities that was learned from labelled rows.

    apply: probabilities and sizes to probabilities, row by row or as a batch. kept: what was
    learned, as JSON holds it.
    """

    apply: Callable[[Probabilities, Sizes], Probabilities]
    kept: Mapping[str, Any] = field(default_factory=dict)


Learner = Callable[[Probabilities, Labels, Sizes], Change]


def changed(layer: Layer, learn: Learner) -> tuple[Layer, Change]:
    """Change each labelled row by what other folds teach, and the asked rows by what all teach."""
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


def logits(probabilities: Floats) -> NDArray[np.float64]:
    """Return finite logits of probabilities of any shape."""
    return np.asarray(logit(np.clip(probabilities.astype(np.float64), EDGE, 1 - EDGE)))


def classes_to_fit(truth_NC: Labels) -> tuple[int, ...]:
    """Return the classes that enough of the rows carry, and enough do not."""
    with_C = truth_NC.sum(axis=0, dtype=np.int64)
    enough_C = np.minimum(with_C, len(truth_NC) - with_C) >= LEAST_IMAGES
    return tuple(np.flatnonzero(enough_C).tolist())
