"""Define the rows that decisions are learned from and applied to, and what they learn.

Axes: M members, N labelled rows, Q queried rows, C classes, K networks of each member.
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

EDGE = 1e-6  # probabilities are clipped to this distance from 0 and 1
LEAST_IMAGES = 10  # needed both with and without a label to fit a model to that label


@dataclass(frozen=True, kw_only=True)
class AskedRows:
    """Store the members' probabilities of images whose labels are wanted.

    Attributes:
        members_MQC: Probabilities; the members are in the order of the held-out rows.
        networks_KMQC: Probabilities from one network of each member at a time, whose mean is
            `members_MQC`. Held-out rows are predicted by one network of each member.
        size_Q: Size of each file, such as "512 x 512".
    """

    members_MQC: Probabilities
    networks_KMQC: Probabilities
    size_Q: Sizes


@dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """Store the members' probabilities of labelled images that no member learned.

    Attributes:
        ids: The images.
        names: The members.
        members_MNC: Probabilities from each member.
        truth_NC: Labels as 0 and 1.
        fold_N: Number of the fold, from 0; images of a group share it.
        group_N: Name of the group.
        size_N: Size of each file, such as "512 x 512".
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    members_MNC: Probabilities
    truth_NC: Labels
    fold_N: NDArray[np.int64]
    group_N: tuple[str, ...]
    size_N: Sizes

    def of_member(self, m: int) -> "HeldOutRows":
        """Return the rows with the probabilities of one member only."""
        return replace(self, names=(self.names[m],), members_MNC=self.members_MNC[m : m + 1])

    def where(self, kept_N: NDArray[np.bool_]) -> "HeldOutRows":
        """Return the rows where `kept_N` is true."""
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
        """Return the same rows without their labels."""
        return AskedRows(
            members_MQC=self.members_MNC, networks_KMQC=self.members_MNC[None], size_Q=self.size_N
        )


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Store probabilities to learn decisions from, and probabilities to decide.

    Attributes:
        learned_NC: Probabilities of labelled rows, each from a fit without its own fold.
        truth_NC: Labels of these rows as 0 and 1.
        fold_N: Fold of these rows.
        size_N: File size of these rows.
        asked_QC: Probabilities of the queried rows, from a fit on all labelled rows.
        networks_KQC: The same from one network of each member at a time, as for labelled rows.
        asked_size_Q: File size of the queried rows.
    """

    learned_NC: Probabilities
    truth_NC: Labels
    fold_N: NDArray[np.int64]
    size_N: Sizes
    asked_QC: Probabilities
    networks_KQC: Probabilities
    asked_size_Q: Sizes


@dataclass(frozen=True, kw_only=True)
class Combiner:
    """Combine the probabilities of members into one.

    Attributes:
        combine: Function from M x Q x C to Q x C.
        without: Classes with too few images, for which it gives the mean.
        kept: What was learned, as JSON can store it; empty if it is too large.
    """

    combine: Callable[[Probabilities], Floats]
    without: tuple[int, ...] = ()
    kept: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, members_MQC: Probabilities) -> Probabilities:
        """Return the combined probabilities, Q x C, clipped to 0..1."""
        if members_MQC.shape[1] == 0:
            return np.empty(members_MQC.shape[1:], np.float32)
        return np.clip(self.combine(members_MQC), 0, 1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Change:
    """Change probabilities by what was learned from labelled rows.

    Attributes:
        apply: Function from probabilities and sizes to probabilities, by row or by batch.
        kept: What was learned, as JSON can store it.
    """

    apply: Callable[[Probabilities, Sizes], Probabilities]
    kept: Mapping[str, Any] = field(default_factory=dict)


Learner = Callable[[Probabilities, Labels, Sizes], Change]


def changed(layer: Layer, learn: Learner) -> tuple[Layer, Change]:
    """Apply a learner to a layer.

    Each labelled row is changed by what the other folds teach, and the queried rows by what all
    labelled rows teach.
    """
    learned_NC = layer.learned_NC.copy()
    for k in np.unique(layer.fold_N):
        others, own = layer.fold_N != k, layer.fold_N == k
        change = learn(layer.learned_NC[others], layer.truth_NC[others], layer.size_N[others])
        learned_NC[own] = change.apply(layer.learned_NC[own], layer.size_N[own])
    change = learn(layer.learned_NC, layer.truth_NC, layer.size_N)
    changed_layer = replace(layer, learned_NC=learned_NC)
    if len(layer.asked_QC):
        asked_QC, *networks = (
            change.apply(rows_QC, layer.asked_size_Q)
            for rows_QC in (layer.asked_QC, *layer.networks_KQC)
        )
        changed_layer = replace(changed_layer, asked_QC=asked_QC, networks_KQC=np.stack(networks))
    return changed_layer, change


def logits(probabilities: Floats) -> NDArray[np.float64]:
    """Return finite logits of probabilities of any shape."""
    return np.asarray(logit(np.clip(probabilities.astype(np.float64), EDGE, 1 - EDGE)))


def classes_to_fit(truth_NC: Labels) -> tuple[int, ...]:
    """Return the classes that enough of the rows carry and enough do not."""
    with_C = truth_NC.sum(axis=0, dtype=np.int64)
    enough_C = np.minimum(with_C, len(truth_NC) - with_C) >= LEAST_IMAGES
    return tuple(np.flatnonzero(enough_C).tolist())
