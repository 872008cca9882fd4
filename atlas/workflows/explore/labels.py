"""The label tables of an atlas, counted: each labelled split by itself.

Axes: N images, G groups of images, C labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import hypergeom

from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import LABELLED, Manifest
from atlas.dataset.metrics import exact_interval, label_matrix
from atlas.dataset.splits.hold_out import grouped_ids, labels_of_groups
from atlas.dataset.tables import Split


@dataclass(frozen=True, kw_only=True)
class SplitLabels:
    """The labels of one split. The tables are those of atlas/workflows/explore/labels.py.

    groups_GC: labels of the images that no fold may part, such as fields of one antibody.
    """

    split: Split
    names: tuple[str, ...]
    carries_NC: Carries
    groups_GC: Carries

    @property
    def images(self) -> int:
        return len(self.carries_NC)

    @cached_property
    def both_CC(self) -> Counts:
        return cooccurrence(self.carries_NC)

    @cached_property
    def phi_CC(self) -> Floats:
        return phi(self.both_CC, self.images)

    @cached_property
    def per_image(self) -> pd.DataFrame:
        return labels_per_image(self.carries_NC)

    @cached_property
    def counts(self) -> pd.DataFrame:
        return label_counts(self.carries_NC, self.names)

    @cached_property
    def sets(self) -> pd.DataFrame:
        return label_sets(self.carries_NC, self.names)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return label_pairs(self.carries_NC, self.names, groups_GC=self.groups_GC)


@dataclass(frozen=True, kw_only=True)
class LabelExploration:
    """splits: those that have rows. folds: `fold_table` of all labelled images together."""

    names: tuple[str, ...]
    splits: tuple[SplitLabels, ...]
    folds: pd.DataFrame
    fold_count: int
    rare_below: int

    @property
    def rare(self) -> pd.DataFrame:
        """Of the folds' table, labels on some images but on fewer than rare_below."""
        return self.folds[self.folds["images"].between(1, self.rare_below - 1)]

    @property
    def unused(self) -> pd.DataFrame:
        return self.folds[self.folds["images"] == 0]


def explore_labels(tables: Manifest, *, folds: int, rare_below: int) -> LabelExploration:
    """tables: at least one labelled row; images are not looked at."""
    names = tables.spec.labels
    found = [_split_labels(tables, split) for split in LABELLED if tables.of(split).rows]
    groups_C = _groups(tables).sum(axis=0)
    images_C = sum((one.both_CC.diagonal() for one in found), np.zeros(len(names), np.int64))
    return LabelExploration(
        names=names,
        splits=tuple(found),
        folds=fold_table(images_C, groups_C, names, folds=folds),
        fold_count=folds,
        rare_below=rare_below,
    )


def stacked(splits: Sequence[SplitLabels], table: str) -> pd.DataFrame:
    """One table of all splits, which a first column tells apart."""
    made = []
    for one in splits:
        part: pd.DataFrame = getattr(one, table).copy()
        part.insert(0, "split", one.split)
        made.append(part)
    return pd.concat(made, ignore_index=True)


def _split_labels(tables: Manifest, split: Split) -> SplitLabels:
    own = tables.of(split)
    names = tables.spec.labels
    carries_NC = label_matrix([row.labels or () for row in own.rows], len(names)).astype(bool)
    return SplitLabels(split=split, names=names, carries_NC=carries_NC, groups_GC=_groups(own))


def _groups(tables: Manifest) -> Carries:
    """Without the column that `labels_of_groups` adds."""
    return labels_of_groups(tables, grouped_ids(tables))[:, : len(tables.spec.labels)]


# What a table of labels holds: how often each label occurs, and which occur together.
#
# Axes: N images, G groups of images, C labels. Only counting: no file is read here, and no image.


Carries = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

SURE_LOG10_P = -2.0  # what a pair must reach to count as no accident, over all pairs of the table


def labels_per_image(carries_NC: Carries) -> pd.DataFrame:
    """How many images carry 1, 2, ... labels: labels, images, percent."""
    of_image_N = carries_NC.sum(axis=1)
    sizes = range(int(of_image_N.min(initial=1)), int(of_image_N.max(initial=0)) + 1)
    images = [int((of_image_N == size).sum()) for size in sizes]
    percent = [100 * count / len(carries_NC) for count in images]
    return pd.DataFrame({"labels": list(sizes), "images": images, "percent": percent})


def label_counts(carries_NC: Carries, names: Sequence[str]) -> pd.DataFrame:
    """A row for each label: label, name, images, percent (of the images), alone (images that carry
    no other label), mean_labels (of its images; NaN where it has none)."""
    of_image_N = carries_NC.sum(axis=1)
    images_C = carries_NC.sum(axis=0)
    alone_C = carries_NC[of_image_N == 1].sum(axis=0)
    together_C = cooccurrence(carries_NC).sum(axis=0)
    return pd.DataFrame(
        {
            "label": range(len(names)),
            "name": list(names),
            "images": images_C,
            "percent": 100 * images_C / max(len(carries_NC), 1),
            "alone": alone_C,
            "mean_labels": _share(together_C, images_C),
        }
    )


def label_sets(carries_NC: Carries, names: Sequence[str]) -> pd.DataFrame:
    """Each set of labels that some image carries as its whole: labels, names, images, percent; the
    commonest first."""
    sets = Counter(tuple(map(int, np.flatnonzero(row))) for row in carries_NC)
    ranked = sorted(sets.items(), key=lambda item: (-item[1], item[0]))
    return pd.DataFrame(
        {
            "labels": [format_labels(labels) for labels, _ in ranked],
            "names": [" + ".join(names[label] for label in labels) for labels, _ in ranked],
            "images": [count for _, count in ranked],
            "percent": [100 * count / len(carries_NC) for _, count in ranked],
        }
    )


def cooccurrence(carries_NC: Carries) -> Counts:
    """Images that carry both labels, C x C; on the diagonal those that carry the one."""
    as_float_NC = carries_NC.astype(np.float64)  # BLAS multiplies no integers; exact below 2^53
    return np.rint(as_float_NC.T @ as_float_NC).astype(np.int64)


def phi(both_CC: Counts, images: int) -> Floats:
    """Phi, Pearson's correlation of two labels as 0 and 1, C x C; NaN where a label is on no image
    or on all. both_CC: as `cooccurrence` counts them.

    phi = (n n_ab - n_a n_b) / sqrt(n_a (n - n_a) n_b (n - n_b))
    """
    count_C = both_CC.diagonal().astype(np.float64)
    spread_C = np.sqrt(count_C * (images - count_C))
    return _share(images * both_CC - np.outer(count_C, count_C), np.outer(spread_C, spread_C))


def label_pairs(
    carries_NC: Carries, names: Sequence[str], *, groups_GC: Carries | None = None
) -> pd.DataFrame:
    """Each pair of labels that are on some image, from those that come together most to those that
    avoid one another.

    a, b: the labels, b the rarer one (of equal ones the later); name_a, name_b, images_a, images_b;
    both: images with both; expected: how many there were, were the labels spread independently;
    phi; a_given_b, b_given_a: share of the images of b that carry a, and the reverse; groups: with
    both; log10_p: of so many groups, or a number farther from the expected one, by chance
    (hypergeometric, that is Fisher's exact test, two-sided by doubling), times the number of pairs
    (Bonferroni).

    groups_GC: images that are no independent witnesses, such as fields of one antibody, and count
    once; None: each image for itself.
    """
    groups_GC = carries_NC if groups_GC is None else groups_GC
    both_CC, n = cooccurrence(carries_NC), len(carries_NC)
    count_C = both_CC.diagonal()
    used = np.flatnonzero(count_C)
    one, other = (used[k] for k in np.triu_indices(len(used), 1))
    swap = count_C[one] < count_C[other]
    a, b = np.where(swap, other, one), np.where(swap, one, other)
    both, groups = both_CC[a, b], cooccurrence(groups_GC)
    pairs = pd.DataFrame(
        {
            "a": a,
            "b": b,
            "name_a": [names[k] for k in a],
            "name_b": [names[k] for k in b],
            "images_a": count_C[a],
            "images_b": count_C[b],
            "both": both,
            "expected": count_C[a] * count_C[b] / max(n, 1),
            "phi": phi(both_CC, n)[a, b],
            "a_given_b": both / np.maximum(count_C[b], 1),
            "b_given_a": both / np.maximum(count_C[a], 1),
            "groups": groups[a, b],
            "log10_p": _log10_chance(groups[a, b], groups[a, a], groups[b, b], len(groups_GC)),
        }
    )
    return pairs.sort_values(["phi", "a", "b"], ascending=[False, True, True], ignore_index=True)


def _log10_chance(both: Counts, groups_a: Counts, groups_b: Counts, n: int) -> Floats:
    """Logarithms, as chances of 1e-300 and less do occur."""
    if not len(both):
        return np.zeros(0)
    least = hypergeom.logsf(both - 1, n, groups_a, groups_b)
    most = hypergeom.logcdf(both, n, groups_a, groups_b)
    of_all_pairs = np.minimum(least, most) + np.log(2) + np.log(len(both))
    return np.asarray(np.minimum(of_all_pairs, 0.0) / np.log(10), np.float64)


def _share(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Floats:
    """part / whole, NaN where there is no whole."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = np.asarray(part, np.float64) / np.asarray(whole, np.float64)
    return np.where(np.asarray(whole) == 0, np.nan, quotient)


# What folds can do with labels of few images. Axes: G groups that no fold may part, C labels.


def fold_table(
    images_C: NDArray[np.int64],
    groups_C: NDArray[np.int64],
    names: Sequence[str],
    *,
    folds: int,
) -> pd.DataFrame:
    """A row for each label, the fewest images first.

    label, name, images; groups: of images that no fold may part; folds: how many can test the
    label; least_groups, most_groups: how many of its groups a fold tests when they are spread
    evenly; recall_shown: the recall that is shown with 95 % when all its images, over all folds,
    are found (Clopper-Pearson, a group counts once); fold_step: by how much one missed group
    lowers the macro F1 of an average fold that tests it and finds the rest.
    """
    rows = []
    for label in sorted(range(len(names)), key=lambda c: (images_C[c], c)):
        images, groups = int(images_C[label]), int(groups_C[label])
        rows.append(
            {
                "label": label,
                "name": names[label],
                "images": images,
                "groups": groups,
                "folds": min(groups, folds),
                "least_groups": groups // folds,
                "most_groups": -(-groups // folds),
                "recall_shown": exact_interval(groups, groups)[0],
                "fold_step": _step(groups / folds, len(names)),
            }
        )
    return pd.DataFrame(rows)


def _step(tested: float, class_count: int) -> float:
    """1 - F1 of a class of which all but one are found, F1 = 2 (n - 1) / (2 n - 1); a C-th of it.

    A fold tests at least one, or not at all."""
    n = max(tested, 1.0)
    return (1 - 2 * (n - 1) / (2 * n - 1)) / class_count
