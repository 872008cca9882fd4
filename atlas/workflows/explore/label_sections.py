"""The sections of an exploration's page that tell of labels; their tables and plots are written."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import save_table
from atlas.report.exploration_page import Plot, Section, ShownTable
from atlas.report.exploration_plots import (
    MAPPED_LABELS,
    save_cooccurrence,
    save_correlation,
    save_label_counts,
    save_labels_per_image,
)
from atlas.workflows.explore.labels import LabelExploration, SplitLabels, stacked

STRONGEST = 12
COMMONEST = 12


def label_sections(folder: Path, found: LabelExploration) -> Iterator[Section]:
    """One after the other, as the page shows them."""
    yield _counts(folder, found)
    yield _per_image(folder, found)
    for one in found.splits:
        yield _pairs(folder, one, f", {one.split}" if len(found.splits) > 1 else "")
    yield _rare(folder, found)


def written(folder: Path, shown: ShownTable) -> ShownTable:
    """The table as it is given, once it stands in its file."""
    save_table(folder / shown.file, shown.table)
    return shown


def _counts(folder: Path, found: LabelExploration) -> Section:
    counts_C: dict[str, NDArray[np.int64]] = {
        one.split: one.counts["images"].to_numpy() for one in found.splits
    }
    path = folder / "label_counts.png"
    save_label_counts(path, counts_C, found.names)
    table = ShownTable(
        title="Images of each label", file="label_counts.csv", table=stacked(found.splits, "counts")
    )
    return Section(
        title="How often each label occurs",
        plots=(Plot(path=path, said="Images of each label; beside its name its number."),),
        tables=(written(folder, table),),
    )


def _per_image(folder: Path, found: LabelExploration) -> Section:
    path = folder / "labels_per_image.png"
    percent: dict[str, dict[int, float]] = {
        one.split: dict(zip(one.per_image["labels"], one.per_image["percent"], strict=True))
        for one in found.splits
    }
    save_labels_per_image(path, percent)
    per_image = ShownTable(
        title="Images with 1, 2, ... labels", file="labels_per_image.csv",
        table=stacked(found.splits, "per_image"), decimals={"percent": 6}, folded=False,
    )  # fmt: skip
    sets = ShownTable(
        title="All sets of labels", file="label_sets.csv", table=stacked(found.splits, "sets")
    )
    commonest = sets.table.groupby("split", sort=False).head(COMMONEST).reset_index(drop=True)
    return Section(
        title="Labels on an image",
        plots=(Plot(path=path, said="How many labels images carry."),),
        tables=(
            written(folder, per_image),
            replace(sets, title="The commonest sets of labels", table=commonest, folded=False),
            written(folder, sets),
        ),
    )


def _pairs(folder: Path, one: SplitLabels, where: str) -> Section:
    kept = _mapped(one)
    names = [one.names[k] for k in kept]
    both_CC, phi_CC = one.both_CC[np.ix_(kept, kept)], one.phi_CC[np.ix_(kept, kept)]
    both, correlation = (f"{name}_{one.split}" for name in ("cooccurrence", "correlation"))
    save_cooccurrence(folder / f"{both}.png", both_CC, names)
    save_correlation(folder / f"{correlation}.png", phi_CC, names)
    pairs = ShownTable(
        title="All pairs, from those that come together to those that avoid one another",
        file=f"pairs_{one.split}.csv", table=one.pairs,
        decimals={"phi": 3, "a_given_b": 3, "b_given_a": 3, "log10_p": 1},
    )  # fmt: skip
    together = one.pairs[(one.pairs["phi"] > 0) & (one.pairs["both"] > 0)].head(STRONGEST)
    apart = one.pairs[one.pairs["phi"] < 0].iloc[::-1].head(STRONGEST)
    strongest = (
        replace(pairs, title=title, table=table.reset_index(drop=True), folded=False)
        for title, table in (
            ("The pairs that come together most", together),
            ("The pairs that avoid one another most", apart),
        )
        if len(table)
    )
    left_out = f"the {len(kept)} commonest of {len(one.names)} labels"
    only = "" if len(kept) == len(one.names) else f" Shown: {left_out}."
    return Section(
        title=f"Which labels occur together{where}",
        said=(
            "phi is Pearson's correlation of two labels as 0 and 1; a_given_b is the share of the "
            "images of b that carry a too; expected is what chance would give. log10_p is the "
            "logarithm of the chance of so many groups with both, or a number farther from the "
            "expected one (Fisher's exact test, two-sided, times the number of pairs): -2 is one "
            "in a hundred. Images of one antibody, group or origin are one group, which counts "
            f"once: {len(one.groups_GC):,} groups of {one.images:,} images.",
        ),
        plots=(
            Plot(path=folder / f"{correlation}.png",
                 said="Phi of each two labels, in hundredths where it is .05 or more; red: they "
                 f"occur together, blue: they avoid one another.{only}"),
            Plot(path=folder / f"{both}.png",
                 said="Images that carry both labels, on the diagonal those with the one; gray: "
                 f"none. The colours are logarithmic.{only}"),
        ),
        tables=(
            *strongest,
            written(folder, pairs),
            written(folder, _matrix(f"{both}.csv", "Images with both labels", one.both_CC, one)),
            written(folder, _matrix(f"{correlation}.csv", "Phi", one.phi_CC, one)),
        ),
    )  # fmt: skip


def _mapped(one: SplitLabels) -> NDArray[np.int64]:
    """The labels that a map has room for, in their order."""
    commonest = np.argsort(-one.both_CC.diagonal(), kind="stable")[:MAPPED_LABELS]
    return np.sort(commonest)


def _matrix(file: str, title: str, values_CC: NDArray[np.generic], one: SplitLabels) -> ShownTable:
    """Rows and columns by number and name: equal names stay apart."""
    named = [f"{number} {name}" for number, name in enumerate(one.names)]
    table = pd.DataFrame(values_CC, columns=named)
    table.insert(0, "label_name", named)
    decimals = dict.fromkeys(named, 3)
    return ShownTable(title=title, file=file, table=table, decimals=decimals, matrix=True)


def _rare(folder: Path, found: LabelExploration) -> Section:
    folds = ShownTable(
        title="All labels, the rarest first", file="folds.csv", table=found.folds,
        decimals={"recall_shown": 3, "fold_step": 4},
    )  # fmt: skip
    rare = replace(folds, title=f"On fewer than {found.rare_below} images", folded=False,
                   table=found.rare.reset_index(drop=True))  # fmt: skip
    return Section(
        title=f"What {found.fold_count} folds can do with rare labels",
        said=(
            "groups: images that no fold may part, such as fields of one antibody. folds: how many "
            "of them can test the label at all; least_groups, most_groups: how many a fold tests "
            "when they are spread evenly. recall_shown: what is shown with 95 % when every one is "
            "found, over all folds. fold_step: what one missed group costs of the macro F1 of a "
            "fold.",
            "A label with fewer groups than folds is missing from some folds' scores, one of a "
            "single group is never both trained and tested. Predictions of all folds, scored "
            "together, use every image once.",
        ),
        tables=(*((rare,) if len(rare.table) else ()), written(folder, folds)),
    )
