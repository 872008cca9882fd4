"""The sections of an exploration's page: plots and pictures, with the tables behind them."""

from collections import defaultdict
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
from atlas.workflows.explore.images import COMPARED_PAIRS, COPY_SCORE, ImageExploration
from atlas.workflows.explore.labels import LabelExploration, SplitLabels, most_common

FIRST = 12  # the number of rows of an excerpt, and of pairs in pictures
GAP_PX = 4
MOST_TILES = 100  # example pictures on a page
DRAWN_LABELS = 100  # labels in a plot of bars, or columns of a table on the page
DECIMALS = {
    "phi": 3, "a_given_b": 3, "b_given_a": 3, "log10_p": 1, "recall_shown": 3, "fold_step": 4,
    "black": 3, "saturated": 3, "registration_score": 1,
}  # fmt: skip

Tables = Mapping[str, pd.DataFrame]  # by file


def label_tables(found: LabelExploration) -> dict[str, pd.DataFrame]:
    """Return the tables of the label sections, by file."""
    tables = {
        "label_counts.csv": found.stacked("counts"),
        "labels_per_image.csv": found.stacked("per_image"),
        "label_sets.csv": found.stacked("sets"),
        "folds.csv": found.folds,
    }
    for one in found.splits:
        tables[f"pairs_{one.split}.csv"] = one.pairs
        tables[f"cooccurrence_{one.split}.csv"] = _matrix(one.both_KK, one)
        tables[f"correlation_{one.split}.csv"] = _matrix(one.phi_KK, one)
    return tables


def image_tables(found: ImageExploration) -> dict[str, pd.DataFrame]:
    """Return the tables of the image sections, by file."""
    return {
        "sizes.csv": found.sizes,
        "channels.csv": found.channels,
        "pixel_values.csv": found.value_table,
        "look_alikes.csv": found.look_alikes,
    }


def label_sections(folder: Path, tables: Tables, found: LabelExploration) -> Iterator[Section]:
    """Yield sections in the order of the page, and draw their plots into `folder`."""
    counts_png, per_image_png = folder / "label_counts.png", folder / "labels_per_image.png"
    counts_C = {one.split: one.counts["images"].to_numpy() for one in found.splits}
    drawn = most_common(np.sum(list(counts_C.values()), axis=0), DRAWN_LABELS)
    save_label_counts(
        counts_png,
        {split: counts[drawn] for split, counts in counts_C.items()},
        [found.names[label] for label in drawn],
        numbers=drawn,
    )
    only = _only(len(drawn), len(found.names))
    save_labels_per_image(per_image_png, {one.split: one.per_image for one in found.splits})
    yield Section(
        title="How often each label occurs",
        plots=(Plot(path=counts_png, said=f"The number of images of each label.{only}"),),
        tables=(_shown("Images of each label", "label_counts.csv", tables),),
    )
    per_image = _shown("Images with 1, 2, ... labels", "labels_per_image.csv", tables)
    sets = _shown("All label sets", "label_sets.csv", tables)
    yield Section(
        title="Number of labels per image",
        plots=(Plot(path=per_image_png, said="The number of labels per image."),),
        tables=(
            replace(per_image, decimals={"percent": 6}, folded=False),
            _excerpt(sets, "The most common label sets", _first_of_split(sets.table)),
            sets,
        ),
    )
    for one in found.splits:
        where = f", {one.split}" if len(found.splits) > 1 else ""
        yield _pairs(folder, tables, one, where)
    yield _rare(tables, found)


def image_sections(folder: Path, tables: Tables, found: ImageExploration) -> Iterator[Section]:
    """Yield sections in the order of the page, and draw their plots into `folder`."""
    if tiles := tuple(_examples(found.manifest)):
        only = (
            _only(len(tiles), len(found.manifest.spec.labels)) if len(tiles) == MOST_TILES else ""
        )
        yield Section(
            title="One image of each label",
            said=(
                "Each picture is the first image with the fewest other labels. For display only, "
                f"every channel is stretched to its own brightest pixels.{only}",
            ),
            tiles=tiles,
        )
    sizes = _shown("All sizes", "sizes.csv", tables)
    commonest = _excerpt(sizes, "The most common sizes", _first_of_split(sizes.table))
    yield Section(
        title="Sizes",
        said=("The width and height of all images on disk.",),
        tables=(commonest,) if len(commonest.table) == len(sizes.table) else (commonest, sizes),
    )
    yield _channels(folder, tables, found)
    yield _copies(tables, found)


def _pairs(folder: Path, tables: Tables, one: SplitLabels, where: str) -> Section:
    kept = most_common(one.both_KK.diagonal(), MAPPED_LABELS)
    numbers = one.compared[kept]
    names = [one.names[label] for label in numbers]
    both, correlation = (f"{name}_{one.split}" for name in ("cooccurrence", "correlation"))
    both_png, correlation_png = folder / f"{both}.png", folder / f"{correlation}.png"
    save_cooccurrence(both_png, one.both_KK[np.ix_(kept, kept)], names, numbers=numbers)
    save_correlation(correlation_png, one.phi_KK[np.ix_(kept, kept)], names, numbers=numbers)
    pairs = _shown(
        "All pairs, from the highest to the lowest phi",
        f"pairs_{one.split}.csv", tables,
    )  # fmt: skip
    together = one.pairs[(one.pairs["phi"] > 0) & (one.pairs["both"] > 0)].head(FIRST)
    apart = one.pairs[one.pairs["phi"] < 0].iloc[::-1].head(FIRST)
    strongest = (
        _excerpt(pairs, "The strongest positive pairs", together),
        _excerpt(pairs, "The strongest negative pairs", apart),
    )
    only = _only(len(kept), len(one.names))
    left_out = len(one.names) - len(one.compared)
    compared = (
        f"Pairs of the {len(one.compared):,} most common labels are counted; "
        f"{left_out:,} rarer labels are left out."
    )
    return Section(
        title=f"Which labels occur together{where}",
        said=(
            "phi is Pearson's correlation of two labels as 0 and 1; a_given_b is the share of the "
            "images of b that also have a; expected is the number of images that chance would "
            "give. log10_p is the logarithm of the probability that chance gives this many groups "
            "with both labels, or a more extreme number (Fisher's exact test, two-sided, "
            "multiplied by the number of pairs): -2 is one in a hundred. Images of one antibody, "
            f"group or origin form one group, which counts once: the {one.images:,} images form "
            f"{one.groups:,} groups.",
            *([compared] if left_out else ()),
        ),
        plots=(
            Plot(path=correlation_png,
                 said="Phi of each pair of labels, printed in hundredths from 0.05 on. Red pairs "
                 f"occur together more often than by chance, blue pairs less often.{only}"),
            Plot(path=both_png,
                 said="The number of images with both labels, and on the diagonal with the one "
                 f"label. Gray is none; the colours are logarithmic.{only}"),
        ),
        tables=(
            *_with_rows(*strongest),
            pairs,
            *(
                (
                    _shown("Images with both labels", f"{both}.csv", tables, matrix=True),
                    _shown("Phi", f"{correlation}.csv", tables, matrix=True),
                )
                if len(one.compared) <= DRAWN_LABELS
                else ()  # a table of so many columns is for programs
            ),
        ),
    )  # fmt: skip


def _rare(tables: Tables, found: LabelExploration) -> Section:
    folds = _shown("All labels, the rarest first", "folds.csv", tables)
    rare = _excerpt(folds, f"Labels on fewer than {found.rare_below} images", found.rare)
    return Section(
        title=f"Rare labels in {found.fold_count} folds",
        said=(
            "groups is the number of groups of images that no fold may divide, such as fields of "
            "one antibody; folds is the number of folds that can test the label; least_groups and "
            "most_groups are the groups that a fold tests if they are divided evenly. recall_shown "
            "is the lower bound (at 95% confidence) of the recall if every group is found, over "
            "all folds. fold_step is how much one missed group lowers the macro F1 of a fold.",
            "A label with fewer groups than folds is missing from the scores of some folds, and a "
            "label with a single group is never both trained and tested. Scoring the predictions "
            "of all folds together uses every image once.",
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
            "training. p1 to p99 are percentiles over all pixels; black and saturated are the "
            "percentages of pixels at 0 and 255; flat counts images with a single value; "
            "sd_of_means is the standard deviation of the means of images.",
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
    copies = _shown("Equal images and near duplicates", "look_alikes.csv", tables)
    return Section(
        title="Copies",
        said=(
            "Equal images have the same pixels in every channel. Two images look alike if "
            "perceptual hashes of all channels differ by only a few bits, in any flip or rotation. "
            f"There are {found.alike:,} such pairs, of which the {COMPARED_PAIRS:,} nearest are "
            f"registered. A registration score of {COPY_SCORE:.0f} means that of different images "
            f"one pair in 10^{COPY_SCORE:.0f} agrees as well, so pairs with at least this score "
            "most likely show one field; the others are different images that look alike. "
            "The command remove-duplicates also finds crops and strong changes, and measures the "
            "threshold on this atlas.",
        ),
        tiles=tuple(_pair_tiles(found)),
        tables=_with_rows(
            _excerpt(copies, "Equal images", found.equal.head(FIRST)),
            _excerpt(copies, "Near duplicates", found.near.head(FIRST)),
            copies,
        ),
    )


def _examples(manifest: Manifest) -> Iterator[Tile]:
    """Yield an image of each of the most common labels, train before external."""
    rows_of: dict[int, list[ImageRow]] = defaultdict(list)
    for row in manifest.labelled.rows:
        for label in row.labels or ():
            rows_of[label].append(row)
    for label in sorted(sorted(rows_of, key=lambda label: -len(rows_of[label]))[:MOST_TILES]):
        row = min(rows_of[label], key=lambda row: len(row.labels or ()))
        others = [manifest.spec.labels[k] for k in row.labels or () if k != label]
        beside = f"with {', '.join(others)}" if others else "alone"
        picture = _picture(row, manifest)
        title = f"{label} {manifest.spec.labels[label]}"
        yield Tile(rgb=picture, title=title, note=f"{row.id}, {beside}")


def _pair_tiles(found: ImageExploration) -> Iterator[Tile]:
    """Yield the near duplicates with the lowest scores, side by side."""
    between = np.ones((TILE_PX, GAP_PX, 3), np.float32)
    for pair in found.near[::-1].head(FIRST).to_dict("records"):
        rows = [found.manifest.by_id[pair[name]] for name in ("id", "other")]
        left, right = (_picture(row, found.manifest) for row in rows)
        note = f"{pair['id']} ({pair['split']}) and {pair['other']} ({pair['other_split']})"
        title = f"registration score {pair['registration_score']:.1f}"
        yield Tile(rgb=np.hstack([left, between, right]), title=title, note=note)


def _picture(row: ImageRow, manifest: Manifest) -> Rgb:
    field = read_row(row, manifest.spec)
    return to_rgb(resize_field(field, TILE_PX), manifest.spec.channels)


def _only(shown: int, labels: int) -> str:
    """Return a sentence about the labels that are left out, or "" if there are none."""
    if shown == labels:
        return ""
    return f" The {shown:,} most common labels are shown; {labels - shown:,} are left out."


def _matrix(values_KK: NDArray[np.generic], one: SplitLabels) -> pd.DataFrame:
    """Return a table whose rows and columns have numbers and names, so that equal names differ."""
    named = [f"{number} {one.names[number]}" for number in one.compared.tolist()]
    table = pd.DataFrame(values_KK, columns=named)
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
