"""Exploration of an atlas: its label tables, its images if there are any, and a page of both."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import save_table
from atlas.dataset.gray_levels import few_levels, warn_of_few_levels
from atlas.dataset.manifest import SPLITS, Manifest, read_manifest, read_tables
from atlas.report.pages import Section, SectionPage, ShownTable, save_section_page
from atlas.workflows.explore.images import ImageExploration, explore_images
from atlas.workflows.explore.labels import LabelExploration, explore_labels
from atlas.workflows.explore.sections import (
    image_sections,
    image_tables,
    label_sections,
    label_tables,
)
from atlas.workflows.settings import ExplorationSettings

PAGE_FILE = "exploration.html"


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """The result of an exploration.

    Attributes:
        rows: The rows of all tables, whether their images exist or not.
        labels: The labels.
        images: The images, or None if there are none.
    """

    rows: Manifest
    labels: LabelExploration
    images: ImageExploration | None

    @property
    def title(self) -> str:
        """The title of the page."""
        return f"Exploration of {self.rows.spec.name}"

    @property
    def counts(self) -> dict[str, str]:
        """The counts of the whole atlas, by name."""
        folds, images = self.labels.folds, self.images
        counts = {f"{split} images": n for split, n in _by_split(self.rows).items() if n}
        counts["labels"] = len(self.labels.names)
        counts[f"labels on fewer than {self.labels.rare_below} images"] = len(self.labels.rare)
        if unused := int((folds["images"] == 0).sum()):
            counts["labels on no image"] = unused
        if images:
            counts["images that were decoded"] = len(images.scanned.rows)
            counts["equal images"] = len(images.equal)
            counts["near duplicates"] = len(images.near)
        return {name: f"{count:,}" for name, count in counts.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on what was not examined, and on counts that fill a small part of their range."""
        if self.images is None:
            return ("There are no images (no folder train/, external/ or test/), so only the "
                    "labels are explored.",)  # fmt: skip
        there, decoded = self.split_table[["images", "decoded"]].sum()
        missing = self.split_table.loc[self.split_table["images"] == 0, "split"]
        notes = [
            f"There is no folder {split}/, so only its table is explored." for split in missing
        ]
        if decoded < there:
            notes.append(f"Pixels and copies are measured on {decoded:,} of {there:,} images, "
                         "which were chosen at random.")  # fmt: skip
        if found := few_levels(self.images.manifest):
            notes.append(f"The {found.sentence}.")
        return tuple(notes)

    @property
    def split_table(self) -> pd.DataFrame:
        """The number of rows, images and decoded images of each split."""
        images = self.images
        columns = {
            "rows": _by_split(self.rows),
            "images": _by_split(images.manifest) if images else 0,
            "decoded": _by_split(images.scanned) if images else 0,
        }
        table = pd.DataFrame(columns, index=pd.Index(SPLITS, name="split"))
        return table[table["rows"] > 0].reset_index()

    @property
    def key_figures(self) -> pd.DataFrame:
        """The key figures with a column for each split, empty if a split does not have one."""
        figures: dict[str, dict[str, str]] = {split: {} for split in self.split_table["split"]}
        for one in self.labels.splits:
            figures[one.split] |= one.key_figures
        if self.images:
            for split in self.images.counts_CV:
                figures[split] |= self.images.key_figures(split)
        names = list(dict.fromkeys(name for of_split in figures.values() for name in of_split))
        columns = {s: [of_split.get(n, "") for n in names] for s, of_split in figures.items()}
        return pd.DataFrame({"figure": names, **columns})


@writes("out")
def explore(data: Path, out: Path, settings: ExplorationSettings) -> Exploration:
    """Write the page, its tables and its plots to `out`; `data` is not changed.

    A split is explored by its images if its folder exists, and otherwise by its table only.

    Args:
        data: The atlas folder.
        out: The folder to write.
        settings: What is measured.

    Raises:
        UserError: Tables or images have problems, or `out` contains something else.
    """
    check_replaceable(out, "explore")
    rows = read_tables(data)
    labels = explore_labels(rows, folds=settings.folds, rare_below=settings.rare_below)
    present = [split for split in SPLITS if rows.of(split).rows and (data / split).is_dir()]
    images = (
        explore_images(read_manifest(data, present), cache_folder(out), settings)
        if present
        else None
    )
    if images:
        warn_of_few_levels(images.manifest)
    explored = Exploration(rows=rows, labels=labels, images=images)
    with folder_written_beside(out, written_by="explore") as folder:
        _write(folder, explored)
    return explored


def _write(folder: Path, explored: Exploration) -> None:
    labels, images = explored.labels, explored.images
    key_figures = ShownTable(
        title="Figures of each split", file="key_figures.csv", table=explored.key_figures,
        folded=False,
    )  # fmt: skip
    tables = {
        "images.csv": explored.split_table,
        key_figures.file: key_figures.table,
        **label_tables(labels),
        **(image_tables(images) if images else {}),
    }
    for file, table in tables.items():
        save_table(folder / file, table)
    sections = [
        Section(title="Key figures", tables=(key_figures,)),
        *label_sections(folder, tables, labels),
        *(image_sections(folder, tables, images) if images else ()),
    ]
    page = SectionPage(
        title=explored.title, counts=explored.counts, notes=explored.notes, sections=sections
    )
    save_section_page(folder / PAGE_FILE, page)


def _by_split(manifest: Manifest) -> dict[str, int]:
    counts = Counter(row.split for row in manifest.rows)
    return {split: counts[split] for split in SPLITS}
