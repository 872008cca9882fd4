"""The label tables of an atlas, counted, each labelled split by itself; no image is read.

How often each label occurs, which occur together, and what folds can do with labels of few images.

Axes: N images, G groups of images that no fold may part, such as fields of one antibody, C labels.
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

SURE_LOG10_P = -2.0  # what a pair must reach to count as no accident, over all pairs of the table

Carries = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SplitLabels:
    """The labels of one split; its tables are those of the functions below.

    groups: how many groups of images no fold may part.
    """

    split: Split
    names: tuple[str, ...]
    images: int
    groups: int
    both_CC: Counts
    phi_CC: Floats
    counts: pd.DataFrame
    per_image: pd.DataFrame
    sets: pd.DataFrame
    pairs: pd.DataFrame

    @property
    def key_figures(self) -> dict[str, str]:
        """The figures that a reader wants first, as text."""
        used = self.counts[self.counts["images"] > 0].sort_values("images", kind="stable")
        sure = self.pairs[self.pairs["log10_p"] <= SURE_LOG10_P]
        together, apart = sure[sure["phi"] > 0], sure[sure["phi"] < 0]
        return {
            "labels that occur": f"{len(used)} of {len(self.names)}",
            "commonest label": "{name}: {images:,} images".format(**used.iloc[-1]),
            "rarest label": "{name}: {images:,} images".format(**used.iloc[0]),
            "labels on an image, mean": f"{self.both_CC.trace() / self.images:.2f}",
            "images with one label": f"{self.counts['alone'].sum() / self.images:.1%}",
            "sets of labels": f"{len(self.sets):,}",
            "sets on a single image": f"{(self.sets['images'] == 1).sum():,}",
            "pairs of labels": f"{len(self.pairs):,}",
            "pairs together more than by chance": f"{len(together):,}",
            "pairs apart more than by chance": f"{len(apart):,}",
            "strongest pair together": _pair_text(together[:1]),
            "strongest pair apart": _pair_text(apart[-1:]),
        }


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

    def stacked(self, table: str) -> pd.DataFrame:
        """One table of all splits, which its first column names."""
        of_split = {one.split: getattr(one, table) for one in self.splits}
        stacked: pd.DataFrame = pd.concat(of_split, names=["split", None])
        return stacked.reset_index("split").reset_index(drop=True)


def explore_labels(tables: Manifest, *, folds: int, rare_below: int) -> LabelExploration:
    """tables: at least one labelled row."""
    names = tables.spec.labels
    found = [_split_labels(tables, split) for split in LABELLED if tables.of(split).rows]
    images_C = sum((one.both_CC.diagonal() for one in found), np.zeros(len(names), np.int64))
    return LabelExploration(
        names=names,
        splits=tuple(found),
        folds=fold_table(images_C, _groups(tables).sum(axis=0), names, folds=folds),
        fold_count=folds,
        rare_below=rare_below,
    )


def labels_per_image(carries_NC: Carries) -> pd.DataFrame:
    """How many images carry 1, 2, ... labels: labels, images, percent."""
    images = np.bincount(carries_NC.sum(axis=1))
    table = pd.DataFrame({"labels": range(len(images)), "images": images})
    table["percent"] = 100 * table["images"] / len(carries_NC)
    return table[0 if images[0] else 1 :].reset_index(drop=True)


def label_counts(carries_NC: Carries, names: Sequence[str]) -> pd.DataFrame:
    """A row for each label: label, name, images, percent (of the images), alone (images that carry
    no other label), mean_labels (of its images; NaN where it has none)."""
    images_C = carries_NC.sum(axis=0)
    return pd.DataFrame(
        {
            "label": range(len(names)),
            "name": list(names),
            "images": images_C,
            "percent": 100 * images_C / max(len(carries_NC), 1),
            "alone": carries_NC[carries_NC.sum(axis=1) == 1].sum(axis=0),
            "mean_labels": _share(cooccurrence(carries_NC).sum(axis=0), images_C),
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

    Counts give equal pairs equal values, so that their order is stable; np.corrcoef does not.
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
    """A row for each label, the fewest images first.

    label, name, images; groups: of images that no fold may part; folds: how many can test the
    label; least_groups, most_groups: how many of its groups a fold tests when they are spread
    evenly; recall_shown: the recall that is shown with 95% when all its images, over all folds,
    are found (Clopper-Pearson, a group counts once); fold_step: by how much one missed group
    lowers the macro F1 of an average fold that tests it and finds the rest.
    """
    order = np.argsort(images_C, kind="stable")
    groups = groups_C[order]
    # F1 of a class of which all but one of n are found is 2 (n - 1) / (2 n - 1).
    tested = np.maximum(groups / folds, 1.0)  # a fold tests at least one, or not at all
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


def _split_labels(tables: Manifest, split: Split) -> SplitLabels:
    own, names = tables.of(split), tables.spec.labels
    carries_NC = label_matrix([row.labels or () for row in own.rows], len(names)).astype(bool)
    both_CC, groups_GC = cooccurrence(carries_NC), _groups(own)
    return SplitLabels(
        split=split,
        names=names,
        images=len(carries_NC),
        groups=len(groups_GC),
        both_CC=both_CC,
        phi_CC=phi(both_CC, len(carries_NC)),
        counts=label_counts(carries_NC, names),
        per_image=labels_per_image(carries_NC),
        sets=label_sets(carries_NC, names),
        pairs=label_pairs(carries_NC, names, groups_GC=groups_GC),
    )


def _groups(tables: Manifest) -> Carries:
    """Without the column that `labels_of_groups` adds."""
    return labels_of_groups(tables, grouped_ids(tables))[:, : len(tables.spec.labels)]


def _pair_text(pairs: pd.DataFrame) -> str:
    """Of the first row, if there is one."""
    if pairs.empty:
        return ""
    pair = pairs.iloc[0]
    names, expected = f"{pair['name_a']}, {pair['name_b']}", f"{pair['expected']:,.2f}"
    return f"{names}: phi {pair['phi']:.2f}, {pair['both']:,} images, by chance {expected}"


def _log10_chance(both: Counts, groups_a: Counts, groups_b: Counts, n: int) -> Floats:
    """Logarithms, as chances of 1e-300 and less do occur."""
    least = hypergeom.logsf(both - 1, n, groups_a, groups_b)
    most = hypergeom.logcdf(both, n, groups_a, groups_b)
    of_all_pairs = np.minimum(least, most) + np.log(2) + np.log(max(len(both), 1))
    return np.asarray(np.minimum(of_all_pairs, 0.0) / np.log(10), np.float64)


def _share(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Floats:
    """part / whole, NaN where there is no whole."""
    nothing = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=np.asarray(whole) != 0))
