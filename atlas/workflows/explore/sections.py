"""The sections of an exploration's page: plots and pictures, with the tables behind them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.image_files import read_row
from atlas.dataset.images import resize_field
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.report.exploration_plots import (
    MAPPED_LABELS,
    save_cooccurrence,
    save_correlation,
    save_label_counts,
    save_labels_per_image,
    save_pixel_values,
)
from atlas.report.pages import TILE_PX, Plot, Section, ShownTable, Tile
from atlas.report.pictures import Rgb, to_rgb
from atlas.workflows.explore.images import COMPARED_PAIRS, COPY_EVIDENCE, ImageExploration
from atlas.workflows.explore.labels import LabelExploration, SplitLabels

FIRST = 12  # rows of an excerpt, and pairs that are pictured
GAP_PX = 4
DECIMALS = {
    "phi": 3, "a_given_b": 3, "b_given_a": 3, "log10_p": 1, "recall_shown": 3, "fold_step": 4,
    "black": 3, "saturated": 3, "registration_score": 3,
}  # fmt: skip

Tables = Mapping[str, pd.DataFrame]  # by file


def label_tables(found: LabelExploration) -> dict[str, pd.DataFrame]:
    """By file, what the label sections show."""
    tables = {
        "label_counts.csv": found.stacked("counts"),
        "labels_per_image.csv": found.stacked("per_image"),
        "label_sets.csv": found.stacked("sets"),
        "folds.csv": found.folds,
    }
    for one in found.splits:
        tables[f"pairs_{one.split}.csv"] = one.pairs
        tables[f"cooccurrence_{one.split}.csv"] = _matrix(one.both_CC, one.names)
        tables[f"correlation_{one.split}.csv"] = _matrix(one.phi_CC, one.names)
    return tables


def image_tables(found: ImageExploration) -> dict[str, pd.DataFrame]:
    """By file, what the image sections show."""
    return {
        "sizes.csv": found.sizes,
        "channels.csv": found.channels,
        "pixel_values.csv": found.value_table,
        "look_alikes.csv": found.look_alikes,
    }


def label_sections(folder: Path, tables: Tables, found: LabelExploration) -> Iterator[Section]:
    """Sections in the order of the page; their plots are drawn into `folder`."""
    counts_png, per_image_png = folder / "label_counts.png", folder / "labels_per_image.png"
    save_label_counts(
        counts_png, {one.split: one.both_CC.diagonal() for one in found.splits}, found.names
    )
    save_labels_per_image(per_image_png, {one.split: one.per_image for one in found.splits})
    yield Section(
        title="How often each label occurs",
        plots=(Plot(path=counts_png, said="Images of each label, with the label's number."),),
        tables=(_shown("Images of each label", "label_counts.csv", tables),),
    )
    per_image = _shown("Images with 1, 2, ... labels", "labels_per_image.csv", tables)
    sets = _shown("All sets of labels", "label_sets.csv", tables)
    yield Section(
        title="Labels on an image",
        plots=(Plot(path=per_image_png, said="How many labels images carry."),),
        tables=(
            replace(per_image, decimals={"percent": 6}, folded=False),
            _excerpt(sets, "The commonest sets of labels", _first_of_split(sets.table)),
            sets,
        ),
    )
    for one in found.splits:
        where = f", {one.split}" if len(found.splits) > 1 else ""
        yield _pairs(folder, tables, one, where)
    yield _rare(tables, found)


def image_sections(folder: Path, tables: Tables, found: ImageExploration) -> Iterator[Section]:
    """Sections in the order of the page; their plots are drawn into `folder`."""
    if tiles := tuple(_examples(found.manifest)):
        yield Section(
            title="One image of each label",
            said=(
                "The first of the images with the fewest other labels. Every channel is stretched "
                "to its own brightest pixels, for the eye only.",
            ),
            tiles=tiles,
        )
    sizes = _shown("All sizes", "sizes.csv", tables)
    commonest = _excerpt(sizes, "The commonest sizes", _first_of_split(sizes.table))
    yield Section(
        title="Sizes",
        said=("Width and height of all images, as on disk.",),
        tables=(commonest,) if len(commonest.table) == len(sizes.table) else (commonest, sizes),
    )
    yield _channels(folder, tables, found)
    yield _copies(tables, found)


def _pairs(folder: Path, tables: Tables, one: SplitLabels, where: str) -> Section:
    commonest = np.argsort(-one.both_CC.diagonal(), kind="stable")[:MAPPED_LABELS]
    kept = np.sort(commonest)
    names = [one.names[k] for k in kept]
    both, correlation = (f"{name}_{one.split}" for name in ("cooccurrence", "correlation"))
    both_png, correlation_png = folder / f"{both}.png", folder / f"{correlation}.png"
    save_cooccurrence(both_png, one.both_CC[np.ix_(kept, kept)], names)
    save_correlation(correlation_png, one.phi_CC[np.ix_(kept, kept)], names)
    pairs = _shown(
        "All pairs, from those that come together to those that avoid one another",
        f"pairs_{one.split}.csv", tables,
    )  # fmt: skip
    together = one.pairs[(one.pairs["phi"] > 0) & (one.pairs["both"] > 0)].head(FIRST)
    apart = one.pairs[one.pairs["phi"] < 0].iloc[::-1].head(FIRST)
    strongest = (
        _excerpt(pairs, "The pairs that come together most", together),
        _excerpt(pairs, "The pairs that avoid one another most", apart),
    )
    only = "" if len(kept) == len(one.names) else f" Only the {len(kept)} commonest labels."
    return Section(
        title=f"Which labels occur together{where}",
        said=(
            "phi is Pearson's correlation of two labels as 0 and 1; a_given_b is the share of the "
            "images of b that carry a too; expected is what chance would give. log10_p is the "
            "logarithm of the chance of so many groups with both, or a number farther from the "
            "expected one (Fisher's exact test, two-sided, times the number of pairs): -2 is one "
            "in a hundred. Images of one antibody, group or origin are one group, which counts "
            f"once: {one.groups:,} groups of {one.images:,} images.",
        ),
        plots=(
            Plot(path=correlation_png,
                 said="Phi of each two labels, in hundredths where it is .05 or more; red: they "
                 f"occur together, blue: they avoid one another.{only}"),
            Plot(path=both_png,
                 said="Images that carry both labels, on the diagonal those with the one; gray: "
                 f"none. The colours are logarithmic.{only}"),
        ),
        tables=(
            *_with_rows(*strongest),
            pairs,
            _shown("Images with both labels", f"{both}.csv", tables, matrix=True),
            _shown("Phi", f"{correlation}.csv", tables, matrix=True),
        ),
    )  # fmt: skip


def _rare(tables: Tables, found: LabelExploration) -> Section:
    folds = _shown("All labels, the rarest first", "folds.csv", tables)
    rare = _excerpt(folds, f"On fewer than {found.rare_below} images", found.rare)
    return Section(
        title=f"What {found.fold_count} folds can do with rare labels",
        said=(
            "groups: images that no fold may part, such as fields of one antibody. folds: how many "
            "of them can test the label at all; least_groups, most_groups: how many a fold tests "
            "when they are spread evenly. recall_shown: what is shown with 95% confidence when "
            "every one is found, over all folds. fold_step: what one missed group costs of the "
            "macro F1 of a fold.",
            "A label with fewer groups than folds is missing from some folds' scores; one of a "
            "single group is never both trained and tested. Predictions of all folds, scored "
            "together, use every image once.",
        ),
        tables=_with_rows(rare, folds),
    )


def _channels(folder: Path, tables: Tables, found: ImageExploration) -> Section:
    values_png = folder / "pixel_values.png"
    save_pixel_values(values_png, found.counts_CV, found.manifest.spec.channels)
    channels = _shown("Each channel of each split", "channels.csv", tables)
    return Section(
        title="Channels",
        said=(
            "Values are those that networks see, 0 to 255; 16-bit images are scaled as in "
            "training. p1 to p99 are percentiles over all pixels, black and saturated the percent "
            "of pixels at 0 and 255, flat the images of one value only; sd_of_means is how far the "
            "means of single images scatter.",
        ),
        plots=(
            Plot(path=values_png, said="How often each value occurs; the scale is logarithmic."),
        ),
        tables=(
            replace(channels, folded=False),
            _shown("Pixels of each value", "pixel_values.csv", tables),
        ),
    )


def _copies(tables: Tables, found: ImageExploration) -> Section:
    copies = _shown("Equal images and pairs that look alike", "look_alikes.csv", tables)
    return Section(
        title="Copies",
        said=(
            "Equal images have the same pixels in every channel. Pairs look alike where a "
            "perceptual hash of each channel differs by a few bits only, in any flip or rotation: "
            f"{found.alike:,} pairs, of which the nearest {COMPARED_PAIRS:,} at most are "
            "registered on one another. Their registration score is the correlation of the registered "
            f"pixels. From {COPY_EVIDENCE} on, the highest threshold measured on three atlases, "
            "they most likely show one field; much below, they are different images of one look. "
            "remove_duplicates.py also finds crops and strong changes, and measures the threshold "
            "on this atlas.",
        ),
        tiles=tuple(_pair_tiles(found)),
        tables=_with_rows(
            _excerpt(copies, "Equal images", found.equal.head(FIRST)),
            _excerpt(copies, "Likely one field, other pixels", found.near.head(FIRST)),
            copies,
        ),
    )


def _examples(manifest: Manifest) -> Iterator[Tile]:
    """train before external, as the manifest has them."""
    for label, name in enumerate(manifest.spec.labels):
        rows = [row for row in manifest.labelled.rows if label in (row.labels or ())]
        if rows:
            row = min(rows, key=lambda row: len(row.labels or ()))
            others = [manifest.spec.labels[k] for k in row.labels or () if k != label]
            beside = f"with {', '.join(others)}" if others else "alone"
            picture = _picture(row, manifest)
            yield Tile(rgb=picture, title=f"{label} {name}", note=f"{row.id}, {beside}")


def _pair_tiles(found: ImageExploration) -> Iterator[Tile]:
    """The least sure copies that are not equal, side by side."""
    between = np.ones((TILE_PX, GAP_PX, 3), np.float32)
    for pair in found.near[::-1].head(FIRST).to_dict("records"):
        rows = [found.manifest.by_id[pair[name]] for name in ("id", "other")]
        left, right = (_picture(row, found.manifest) for row in rows)
        note = f"{pair['id']} ({pair['split']}) and {pair['other']} ({pair['other_split']})"
        title = f"registration score {pair['registration_score']:.3f}"
        yield Tile(rgb=np.hstack([left, between, right]), title=title, note=note)


def _picture(row: ImageRow, manifest: Manifest) -> Rgb:
    field = read_row(row, manifest.spec)
    return to_rgb(resize_field(field, TILE_PX), manifest.spec.channels)


def _matrix(values_CC: NDArray[np.generic], names: tuple[str, ...]) -> pd.DataFrame:
    """Rows and columns by number and name: equal names stay apart."""
    named = [f"{number} {name}" for number, name in enumerate(names)]
    table = pd.DataFrame(values_CC, columns=named)
    table.insert(0, "label_name", named)
    return table


def _shown(title: str, file: str, tables: Tables, *, matrix: bool = False) -> ShownTable:
    table = tables[file]
    decimals = dict.fromkeys(table.columns, 3) if matrix else DECIMALS
    return ShownTable(title=title, file=file, table=table, decimals=decimals, matrix=matrix)


def _excerpt(shown: ShownTable, title: str, rows: pd.DataFrame) -> ShownTable:
    return replace(shown, title=title, table=rows.reset_index(drop=True), folded=False)


def _with_rows(*tables: ShownTable) -> tuple[ShownTable, ...]:
    return tuple(shown for shown in tables if len(shown.table))


def _first_of_split(table: pd.DataFrame) -> pd.DataFrame:
    return table.groupby("split", sort=False).head(FIRST)
