"""An atlas explored: its label tables, its images where they are there, and one page of both."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from atlas.core.files import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import save_table
from atlas.dataset.manifest import SPLITS, Manifest, read_manifest, read_tables
from atlas.report.exploration_page import ExplorationPage, Finding, save_exploration_page
from atlas.workflows.explore.image_sections import image_sections, scanned_in_words
from atlas.workflows.explore.image_telling import image_findings
from atlas.workflows.explore.images import ImageExploration, explore_images
from atlas.workflows.explore.label_sections import label_sections
from atlas.workflows.explore.label_telling import label_findings
from atlas.workflows.explore.labels import LabelExploration, explore_labels
from atlas.workflows.settings import ExplorationSettings

PAGE_FILE = "exploration.html"


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """counts, notes, stands_out: as the page's head tells them. images: None where there are none.

    tables: the rows of all tables, whether their images are there or not.
    """

    title: str
    tables: Manifest
    labels: LabelExploration
    images: ImageExploration | None
    counts: dict[str, str]
    notes: tuple[str, ...]
    stands_out: tuple[Finding, ...]


def explore(data: Path, out: Path, settings: ExplorationSettings) -> Exploration:
    """Writes the page, its tables and its plots to `out`; `data` is left as it is.

    A split is explored by its images where its folder is there, else by its table alone. Raises
    UserError for tables or images with problems, and where `out` is no older result.
    """
    check_replaceable(out, holds=PAGE_FILE)
    tables = read_tables(data)
    labels = explore_labels(tables, folds=settings.folds, rare_below=settings.rare_below)
    images = _images(data, out, tables, settings)
    explored = Exploration(
        title=f"Exploration of {tables.spec.name}",
        tables=tables,
        labels=labels,
        images=images,
        counts=dict(_counts(tables, labels, images)),
        notes=tuple(_notes(tables, images)),
        stands_out=(*label_findings(labels), *(image_findings(images) if images else ())),
    )
    with folder_written_beside(out, holds=PAGE_FILE) as folder:
        _write(folder, explored)
    return explored


def _images(
    data: Path, out: Path, tables: Manifest, settings: ExplorationSettings
) -> ImageExploration | None:
    present = [split for split in SPLITS if tables.of(split).rows and (data / split).is_dir()]
    if not present:
        return None
    return explore_images(read_manifest(data, present), cache_folder(out), settings)


def _counts(
    tables: Manifest, labels: LabelExploration, images: ImageExploration | None
) -> Iterator[tuple[str, str]]:
    of_split = Counter(row.split for row in tables.rows)
    for split in SPLITS:
        if of_split[split]:
            yield f"{split} images", f"{of_split[split]:,}"
    yield "labels", f"{len(labels.names):,}"
    yield f"labels on fewer than {labels.rare_below} images", f"{len(labels.rare):,}"
    if images:
        yield "images that were decoded", f"{len(images.scanned.rows):,}"
        yield "equal images", f"{len(images.equal):,}"
        yield "pairs likely of one field, other pixels", f"{len(images.near):,}"


def _notes(tables: Manifest, images: ImageExploration | None) -> Iterator[str]:
    """What the page does not tell."""
    if images is None:
        yield "No images are there (no folder train/, external/ or test/): only labels are told of."
        return
    seen = {row.split for row in images.manifest.rows}
    for split in SPLITS:
        if split not in seen and tables.of(split).rows:
            yield f"The images of {split} are not there: of these only the table is told of."
    if len(images.scanned.rows) < len(images.manifest.rows):
        yield f"Pixels and copies: {scanned_in_words(images)}"


def _write(folder: Path, explored: Exploration) -> None:
    save_table(folder / "images.csv", _split_table(explored))
    sections = [*label_sections(folder, explored.labels)]
    if explored.images:
        sections += image_sections(folder, explored.images)
    findings = pd.DataFrame([vars(f) for f in explored.stands_out], columns=["lead", "told"])
    save_table(folder / "stands_out.csv", findings)
    page = ExplorationPage(
        title=explored.title,
        counts=explored.counts,
        notes=explored.notes,
        stands_out=explored.stands_out,
        sections=sections,
    )
    save_exploration_page(folder / PAGE_FILE, page)


def _split_table(explored: Exploration) -> pd.DataFrame:
    """Of each split: rows of its table, images that are there, images that were decoded."""
    images = explored.images
    manifests = [explored.tables, *((images.manifest, images.scanned) if images else ())]
    counts = [Counter(row.split for row in manifest.rows) for manifest in manifests]
    rows = [
        (split, *(count[split] for count in counts), *(0,) * (3 - len(counts)))
        for split in SPLITS
        if counts[0][split]
    ]
    return pd.DataFrame(rows, columns=["split", "rows", "images", "decoded"])
