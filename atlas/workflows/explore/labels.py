"""Counts of the label tables of an atlas, for each labelled split; no image is read.

They show how often each label occurs, which labels occur together, and whether folds can train and
test rare labels.

Axes: N images, G groups of images that no fold may divide (such as fields of one antibody), C
labels, K compared labels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import hypergeom

from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import LABELLED, Manifest
from atlas.dataset.metrics import exact_interval, label_matrix
from atlas.dataset.splits.hold_out import grouped_ids, labels_of_groups
from atlas.dataset.tables import Split

COMPARED_LABELS = 300  # pairs of more labels would take gigabytes, and nobody could read them
SURE_LOG10_P = -2.0  # pairs at or below this are significant, corrected for all pairs of the table

Carries = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SplitLabels:
    """The labels of one split; its tables are those of the functions below.

    Pairs of labels are counted for the most common labels only, of which there are at most
    COMPARED_LABELS.

    Attributes:
        split: The split.
        names: The names of all labels.
        images: The number of images.
        groups: The number of groups that no fold may divide.
        compared: The numbers of the labels whose pairs are counted, K of them.
        both_KK: See `cooccurrence`.
        phi_KK: See `phi`.
        counts: See `label_counts`.
        per_image: See `labels_per_image`.
        sets: See `label_sets`.
        pairs: See `label_pairs`.
    """

    split: Split
    names: tuple[str, ...]
    images: int
    groups: int
    compared: Counts
    both_KK: Counts
    phi_KK: Floats
    counts: pd.DataFrame
    per_image: pd.DataFrame
    sets: pd.DataFrame
    pairs: pd.DataFrame

    @property
    def key_figures(self) -> dict[str, str]:
        """The most important figures as text."""
        used = self.counts[self.counts["images"] > 0].sort_values("images", kind="stable")
        sure = self.pairs[self.pairs["log10_p"] <= SURE_LOG10_P]
        together, apart = sure[sure["phi"] > 0], sure[sure["phi"] < 0]
        return {
            "labels that occur": f"{len(used)} of {len(self.names)}",
            "most common label": "{name}: {images:,} images".format(**used.iloc[-1]),
            "rarest label": "{name}: {images:,} images".format(**used.iloc[0]),
            "mean number of labels per image": f"{self.counts['images'].sum() / self.images:.2f}",
            "images with one label": f"{self.counts['alone'].sum() / self.images:.1%}",
            "label sets": f"{len(self.sets):,}",
            "label sets of a single image": f"{(self.sets['images'] == 1).sum():,}",
            "pairs of labels": f"{len(self.pairs):,}",
            "pairs that occur together more than by chance": f"{len(together):,}",
            "pairs that occur together less than by chance": f"{len(apart):,}",
            "strongest positive pair": _pair_text(together[:1]),
            "strongest negative pair": _pair_text(apart[-1:]),
        }


@dataclass(frozen=True, kw_only=True)
class LabelExploration:
    """The labels of an atlas.

    Attributes:
        names: The names of the labels.
        splits: The labels of each split that has rows.
        folds: The `fold_table` of all labelled images.
        fold_count: The number of folds.
        rare_below: Labels with fewer images are rare.
    """

    names: tuple[str, ...]
    splits: tuple[SplitLabels, ...]
    folds: pd.DataFrame
    fold_count: int
    rare_below: int

    @property
    def rare(self) -> pd.DataFrame:
        """The rows of `folds` for rare labels that have at least one image."""
        return self.folds[self.folds["images"].between(1, self.rare_below - 1)]

    def stacked(self, table: str) -> pd.DataFrame:
        """Return a table of all splits, with a first column that names the split."""
        of_split = {one.split: getattr(one, table) for one in self.splits}
        stacked: pd.DataFrame = pd.concat(of_split, names=["split", None])
        return stacked.reset_index("split").reset_index(drop=True)


def explore_labels(tables: Manifest, *, folds: int, rare_below: int) -> LabelExploration:
    """Count the labels of tables with at least one labelled row."""
    names = tables.spec.labels
    found = [_split_labels(tables, split) for split in LABELLED if tables.of(split).rows]
    images_C = np.zeros(len(names), np.int64)
    for one in found:
        images_C += one.counts["images"].to_numpy()
    return LabelExploration(
        names=names,
        splits=tuple(found),
        folds=fold_table(images_C, _groups(tables).sum(axis=0), names, folds=folds),
        fold_count=folds,
        rare_below=rare_below,
    )


def labels_per_image(carries_NC: Carries) -> pd.DataFrame:
    """Return how many images have 1, 2, ... labels."""
    images = np.bincount(carries_NC.sum(axis=1))
    table = pd.DataFrame({"labels": range(len(images)), "images": images})
    table["percent"] = 100 * table["images"] / len(carries_NC)
    return table[0 if images[0] else 1 :].reset_index(drop=True)


def label_counts(carries_NC: Carries, names: Sequence[str]) -> pd.DataFrame:
    """Return one row for each label.

    The columns are label, name, images, percent (of all images), alone (images without another
    label) and mean_labels (of its images; NaN if there are none).
    """
    images_C, labels_N = carries_NC.sum(axis=0), carries_NC.sum(axis=1)
    labels_C = np.array([labels_N[carries_N].sum() for carries_N in carries_NC.T], np.int64)
    return pd.DataFrame(
        {
            "label": range(len(names)),
            "name": list(names),
            "images": images_C,
            "percent": 100 * images_C / max(len(carries_NC), 1),
            "alone": carries_NC[labels_N == 1].sum(axis=0),
            "mean_labels": _share(labels_C, images_C),
        }
    )


def label_sets(carries_NC: Carries, names: Sequence[str]) -> pd.DataFrame:
    """Return each label set with its number and percentage of images, most common first."""
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
    """Return how many images have both labels, C x C; the diagonal has the images of each label."""
    as_float_NC = carries_NC.astype(np.float64)  # BLAS multiplies no integers; exact below 2^53
    return np.rint(as_float_NC.T @ as_float_NC).astype(np.int64)


def phi(both_CC: Counts, images: int) -> Floats:
    """Return phi, Pearson's correlation of two labels as 0 and 1, C x C.

    phi = (n n_ab - n_a n_b) / sqrt(n_a (n - n_a) n_b (n - n_b))

    It is NaN if a label is on no image or on all images. Counts give equal pairs equal values, so
    their order is stable; np.corrcoef does not guarantee this.

    Args:
        both_CC: The counts of `cooccurrence`.
        images: The number of images n.
    """
    count_C = both_CC.diagonal().astype(np.float64)
    spread_C = np.sqrt(count_C * (images - count_C))
    return _share(images * both_CC - np.outer(count_C, count_C), np.outer(spread_C, spread_C))


def label_pairs(
    carries_NC: Carries, names: Sequence[str], *, groups_GC: Carries | None = None
) -> pd.DataFrame:
    """Return each pair of labels that occur, from the highest to the lowest phi.

    The columns are:

    - a, b: the labels, b being the rarer one (the later one in a tie), with name_a, name_b,
      images_a and images_b.
    - both: the images with both labels; expected: the same if labels were independent.
    - phi: their correlation.
    - a_given_b, b_given_a: the share of the images of b that have a, and the reverse.
    - groups: the groups with both labels.
    - log10_p: the logarithm of the probability of this many groups or a more extreme number by
      chance (Fisher's exact test, two-sided by doubling), multiplied by the number of pairs
      (Bonferroni).

    Args:
        carries_NC: Whether the image has the label.
        names: The names of the labels.
        groups_GC: Whether the group has the label; images of a group are not independent, so a
            group counts once. By default each image is a group.
    """
    groups_GC = carries_NC if groups_GC is None else groups_GC
    both_CC, groups_CC, n = cooccurrence(carries_NC), cooccurrence(groups_GC), len(carries_NC)
    count_C = both_CC.diagonal()
    used = np.flatnonzero(count_C)
    one, other = (used[k] for k in np.triu_indices(len(used), 1))
    swap = count_C[one] < count_C[other]
    a, b = np.where(swap, other, one), np.where(swap, one, other)
    both, groups = both_CC[a, b], groups_CC[a, b]
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
            "groups": groups,
            "log10_p": _log10_chance(groups, groups_CC[a, a], groups_CC[b, b], len(groups_GC)),
        }
    )
    return pairs.sort_values(["phi", "a", "b"], ascending=[False, True, True], ignore_index=True)


def fold_table(
    images_C: Counts, groups_C: Counts, names: Sequence[str], *, folds: int
) -> pd.DataFrame:
    """Return one row for each label, the label with the fewest images first.

    The columns are:

    - label, name, images.
    - groups: the groups that no fold may divide.
    - folds: the number of folds that can test the label.
    - least_groups, most_groups: the groups that a fold tests if they are divided evenly.
    - recall_shown: the lower bound (at 95% confidence) of the recall if all images are found over
      all folds (Clopper-Pearson; a group counts once).
    - fold_step: how much one missed group lowers the macro F1 of an average fold that tests the
      label and finds the other groups.
    """
    order = np.argsort(images_C, kind="stable")
    groups = groups_C[order]
    # If all but one of n are found, the F1 of a class is 2 (n - 1) / (2 n - 1).
    tested = np.maximum(groups / folds, 1.0)  # a fold that tests the label has at least one group
    return pd.DataFrame(
        {
            "label": order,
            "name": [names[label] for label in order],
            "images": images_C[order],
            "groups": groups,
            "folds": np.minimum(groups, folds),
            "least_groups": groups // folds,
            "most_groups": -(-groups // folds),
            "recall_shown": [exact_interval(n, n)[0] for n in groups.tolist()],
            "fold_step": (1 - 2 * (tested - 1) / (2 * tested - 1)) / len(names),
        }
    )


def most_common(images_C: Counts, count: int) -> Counts:
    """Return the numbers of the labels with the most images, at most `count`, in ascending order.

    Example:
        >>> most_common(np.array([5, 1, 7]), 2).tolist()
        [0, 2]
    """
    return np.sort(np.argsort(-images_C, kind="stable")[:count])


def _split_labels(tables: Manifest, split: Split) -> SplitLabels:
    own, names = tables.of(split), tables.spec.labels
    carries_NC = label_matrix([row.labels or () for row in own.rows], len(names)).astype(bool)
    groups_GC = _groups(own)
    compared = most_common(carries_NC.sum(axis=0), COMPARED_LABELS)
    both_KK = cooccurrence(carries_NC[:, compared])
    pairs = label_pairs(
        carries_NC[:, compared],
        [names[label] for label in compared],
        groups_GC=groups_GC[:, compared],
    )
    return SplitLabels(
        split=split,
        names=names,
        images=len(carries_NC),
        groups=len(groups_GC),
        compared=compared,
        both_KK=both_KK,
        phi_KK=phi(both_KK, len(carries_NC)),
        counts=label_counts(carries_NC, names),
        per_image=labels_per_image(carries_NC),
        sets=label_sets(carries_NC, names),
        pairs=pairs.assign(a=compared[pairs["a"]], b=compared[pairs["b"]]),
    )


def _groups(tables: Manifest) -> Carries:
    # `labels_of_groups` adds a column, which is not needed here.
    return labels_of_groups(tables, grouped_ids(tables))[:, : len(tables.spec.labels)]


def _pair_text(pairs: pd.DataFrame) -> str:
    if pairs.empty:
        return ""
    pair = pairs.iloc[0]
    names, expected = f"{pair['name_a']}, {pair['name_b']}", f"{pair['expected']:,.2f}"
    return f"{names}: phi {pair['phi']:.2f}, {pair['both']:,} images ({expected} by chance)"


def _log10_chance(both: Counts, groups_a: Counts, groups_b: Counts, n: int) -> Floats:
    """Return logarithms, because probabilities below 1e-300 occur."""
    # Each test takes a millisecond, and most pairs of many labels have the counts of another pair.
    counts = np.stack([both, groups_a, groups_b])
    (each, own_a, own_b), place = np.unique(counts, axis=1, return_inverse=True)
    least = hypergeom.logsf(each - 1, n, own_a, own_b)
    most = hypergeom.logcdf(each, n, own_a, own_b)
    of_all_pairs = np.minimum(least, most)[place] + np.log(2) + np.log(max(len(both), 1))
    return np.asarray(np.minimum(of_all_pairs, 0.0) / np.log(10), np.float64)


def _share(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Floats:
    """Return part / whole, NaN where the whole is 0."""
    nothing = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=np.asarray(whole) != 0))
