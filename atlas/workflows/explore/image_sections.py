"""The sections of an exploration's page that tell of images; their tables and plots are written."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.image_files import read_row
from atlas.dataset.images import resize_field
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.report.exploration_page import TILE_PX, Plot, Section, ShownTable, Tile
from atlas.report.exploration_plots import save_pixel_values
from atlas.report.pictures import to_rgb
from atlas.workflows.explore.images import (
    COMPARED_PAIRS,
    COPY_EVIDENCE,
    ImageExploration,
    value_table,
)
from atlas.workflows.explore.label_sections import written

SIZES_SHOWN = 12
PAIRS_SHOWN = 12
ROWS_FIRST = 12
GAP_PX = 4


def image_sections(folder: Path, found: ImageExploration) -> Iterator[Section]:
    """One after the other, as the page shows them."""
    tiles = tuple(_examples(found.manifest))
    if tiles:
        yield Section(
            title="One image of each label",
            said=("Of the images with the fewest other labels the first. Every channel is "
                  "stretched to its own brightest pixels, for the eye only.",),
            tiles=tiles,
        )  # fmt: skip
    yield _sizes(folder, found)
    yield _channels(folder, found)
    yield _copies(folder, found)


def scanned_in_words(found: ImageExploration) -> str:
    scanned, all_of = len(found.scanned.rows), len(found.manifest.rows)
    if scanned == all_of:
        return f"Measured on all {all_of:,} images."
    return f"Measured on {scanned:,} of {all_of:,} images, drawn by seed."


def _examples(manifest: Manifest) -> Iterator[Tile]:
    """train before external, as the manifest has them."""
    for label, name in enumerate(manifest.spec.labels):
        rows = [row for row in manifest.labelled.rows if label in (row.labels or ())]
        if rows:
            row = min(rows, key=lambda row: len(row.labels or ()))
            others = [manifest.spec.labels[k] for k in row.labels or () if k != label]
            beside = f"with {', '.join(others)}" if others else "alone"
            yield Tile(rgb=_picture(row, manifest), title=f"{label} {name}",
                       note=f"{row.id}, {beside}")  # fmt: skip


def _picture(row: ImageRow, manifest: Manifest) -> NDArray[np.float32]:
    field = read_row(row, manifest.spec)
    return to_rgb(resize_field(field, TILE_PX), manifest.spec.channels)


def _sizes(folder: Path, found: ImageExploration) -> Section:
    sizes = ShownTable(title="All sizes", file="sizes.csv", table=found.sizes)
    first = found.sizes.groupby("split", sort=False).head(SIZES_SHOWN).reset_index(drop=True)
    shown = replace(sizes, title="The commonest sizes", table=first, folded=False)
    written(folder, sizes)
    return Section(
        title="Sizes",
        said=("Width and height as on disk, of all images.",),
        tables=(shown,) if len(first) == len(sizes.table) else (shown, sizes),
    )


def _channels(folder: Path, found: ImageExploration) -> Section:
    path = folder / "pixel_values.png"
    save_pixel_values(path, found.counts_CV, found.manifest.spec.channels)
    channels = ShownTable(
        title="Each channel of each split", file="channels.csv", table=found.channels,
        decimals={"black": 3, "saturated": 3}, folded=False,
    )  # fmt: skip
    values = ShownTable(
        title="Pixels of each value", file="pixel_values.csv", table=value_table(found)
    )
    return Section(
        title="Channels",
        said=(
            f"{scanned_in_words(found)} Values are those that networks see, 0 to 255; 16-bit "
            "images are scaled as in training. p1 to p99 are percentiles over all pixels, black "
            "and saturated the percent of pixels at 0 and 255, flat the images of one value only; "
            "sd_of_means is how far the means of single images scatter.",
        ),
        plots=(Plot(path=path, said="How often each value occurs; the scale is logarithmic."),),
        tables=(written(folder, channels), written(folder, values)),
    )


def _copies(folder: Path, found: ImageExploration) -> Section:
    copies = ShownTable(
        title="Equal images and pairs that look alike", file="look_alikes.csv",
        table=found.look_alikes, decimals={"evidence": 3},
    )  # fmt: skip
    written(folder, copies)
    seen = f" {COMPARED_PAIRS:,} nearest" if found.alike > COMPARED_PAIRS else ""
    told = (
        f"{scanned_in_words(found)} Equal: the same pixels in every channel. Alike: a perceptual "
        f"hash of each channel differs by a few bits only, in any flip or turn: "
        f"{found.alike:,} pairs. The{seen or 'se'} were registered on one another, and evidence is "
        f"the correlation of their pixels: from {COPY_EVIDENCE} on, the highest cut measured on "
        "three atlases, they most likely show one field; much below they are different images of "
        "one look. Crops and strong changes are not found this way: remove_duplicates.py finds "
        "those, and measures the cut on this atlas."
    )
    first = [
        replace(copies, title=title, table=table.head(ROWS_FIRST).reset_index(drop=True),
                folded=False)
        for title, table in (
            ("Equal images", found.equal), ("Likely one field, other pixels", found.near),
        )
        if len(table)
    ]  # fmt: skip
    return Section(
        title="Copies",
        said=(told,),
        tiles=tuple(_pair_tiles(found)),
        tables=(*first, *((copies,) if len(copies.table) else ())),
    )


def _pair_tiles(found: ImageExploration) -> Sequence[Tile]:
    """The least sure copies that are not equal, side by side."""
    manifest = found.manifest
    tiles = []
    for pair in found.near[::-1].head(PAIRS_SHOWN).to_dict("records"):
        two = [_picture(manifest.by_id[pair[name]], manifest) for name in ("id", "other")]
        between = np.ones((TILE_PX, GAP_PX, 3), np.float32)
        sides = np.hstack([two[0], between, two[1]])
        note = f"{pair['id']} ({pair['split']}) and {pair['other']} ({pair['other_split']})"
        tiles.append(Tile(rgb=sides, title=f"evidence {pair['evidence']:.3f}", note=note))
    return tiles
