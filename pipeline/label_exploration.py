"""The label tables of an atlas, counted: each labelled split by itself.

Axes: N images, G groups of images, C labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from atlas.label_counts import (
    Carries,
    Counts,
    Floats,
    cooccurrence,
    label_counts,
    label_pairs,
    label_sets,
    labels_per_image,
    phi,
)
from atlas.manifest import LABELLED, Manifest
from atlas.metrics import label_matrix
from atlas.rare_labels import fold_table
from atlas.split import grouped_ids, labels_of_groups
from atlas.tables import Split


@dataclass(frozen=True, kw_only=True)
class SplitLabels:
    """The labels of one split. The tables are those of atlas/label_counts.py.

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
