"""Copies within the labelled images: the index proposes them, their pixels decide."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from atlas.core.files import check_replaceable, folder_written_beside, write_json
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import SAME_IMAGE, load_texts, save_table
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import Manifest
from atlas.dataset.tables import GROUPS_TABLE, TABLES
from atlas.workflows.embed.index import open_atlas_index
from atlas.workflows.leaks.calibration import SameImageMeasurement, measure_same_image
from atlas.workflows.leaks.pictures import save_pairs
from atlas.workflows.leaks.search import LeakSearch, open_leak_search
from atlas.workflows.run_folder import CALIBRATION_FILE
from index.claims.duplicates import Pair, copies_of_train, find_duplicates, group_table, tied
from index.claims.leaks import find_matches
from index.copies.calibration import no_siblings
from index.settings import LeakSettings, RegistrationSettings

DUPLICATES_FILE = "duplicates.csv"
CLEANED_FOLDER = "cleaned"
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class DuplicateFinding:
    """table: as duplicates.csv. removed_ids: external copies of train images.

    group_of: of every labelled image that is tied to another, by copies or by a group it had.
    """

    manifest: Manifest
    table: pd.DataFrame
    removed_ids: frozenset[str]
    group_of: dict[str, str]
    same_image: SameImageMeasurement

    @property
    def disagreements(self) -> pd.DataFrame:
        """The copies that are labelled otherwise, surest first, with both label sets."""
        found = self.table[self.table["same_labels"] == "no"].sort_values(
            ["registration_score", "id"], ascending=[False, True]
        )
        labels = {row.id: format_labels(row.labels or ()) for row in self.manifest.rows}
        return found.assign(labels=found["id"].map(labels),
                            other_labels=found["duplicate_of"].map(labels))  # fmt: skip


def remove_duplicates(
    data: Path,
    index_folder: Path,
    out: Path,
    settings: LeakSettings,
    registration: RegistrationSettings,
) -> DuplicateFinding:
    """Writes duplicates.csv, groups.csv and calibration.json to `out`; `data` is left as it is.

    Where external images are copies of train images, the folder `cleaned` in `out` holds an
    external.csv without them and the groups.csv that goes with it.
    """
    check_replaceable(out, holds=DUPLICATES_FILE)
    manifest, index = open_atlas_index(data, index_folder)
    search = open_leak_search(manifest, index, cache_folder(out), settings, registration)
    found = _find(search, manifest)
    with folder_written_beside(out, holds=DUPLICATES_FILE) as folder:
        _write(folder, found, search, data)
    return found


def _find(search: LeakSearch, manifest: Manifest) -> DuplicateFinding:
    index, ids = search.index, manifest.labelled.ids
    splits = {row.id: row.split for row in manifest.labelled.rows}
    images = search.stored("labelled images")
    neighbours = search.candidates(index.embeddings, images)
    scores_NK = search.registration_score(neighbours, images)
    same_image = measure_same_image(_train_only(search, manifest))
    matches = find_matches(
        neighbours, scores_NK, same_image.calibration, no_siblings("not asked for"),
        equal_NK=search.equal(neighbours), splits=splits, identities={},
    )  # fmt: skip
    table = find_duplicates(matches, ids, splits=splits, labels=index.labels)
    copies = zip(table["id"], table["duplicate_of"], strict=True)
    return DuplicateFinding(
        manifest=manifest,
        table=table,
        removed_ids=copies_of_train(table, ids, splits),
        group_of=tied(ids, [*copies, *_known_ties(manifest)]),
        same_image=same_image,
    )


def _train_only(search: LeakSearch, manifest: Manifest) -> LeakSearch:
    """Where to measure the threshold: external images may be copies of train images by the thousand, and
    would then pass for distinct pairs that look alike."""
    index, ids = search.index, manifest.of("train").ids
    table = index.table[index.table["split"] == "train"].reset_index(drop=True)
    train = replace(index, table=table, embeddings=index.embeddings.aligned_to(ids))
    return replace(search, index=train)


def _known_ties(manifest: Manifest) -> Iterator[Pair]:
    """Each row with the first of its group, so that a new groups.csv parts no older group."""
    first: dict[str, str] = {}
    for row in manifest.labelled.rows:
        if row.group is not None:
            yield row.id, first.setdefault(row.group, row.id)


def _write(folder: Path, found: DuplicateFinding, search: LeakSearch, data: Path) -> None:
    save_table(folder / DUPLICATES_FILE, found.table)
    save_table(folder / GROUPS_TABLE, group_table(found.group_of))
    if found.removed_ids:
        cleaned = folder / CLEANED_FOLDER
        save_table(cleaned / TABLES["external"], _without(data / TABLES["external"], found))
        save_table(cleaned / GROUPS_TABLE, group_table(_kept_groups(found)))
    if len(found.table):
        least_sure = found.table.sort_values(["registration_score", "id"])[:SHOWN]
        pairs = [
            (row["id"], row["duplicate_of"], f"registration score {row['registration_score']:.3f}")
            for row in least_sure.to_dict("records")
        ]
        title = f"copies within the labelled images: {len(found.table)} (least sure first)"
        save_pairs(folder / "duplicates.png", pairs, search.store, title=title)
    calibration = {
        SAME_IMAGE: asdict(found.same_image.calibration),
        "planted_recall": found.same_image.planted_recall,
        "settings": asdict(search.settings),
        "registration": asdict(search.registration),
        "embedder": search.embedder.maker,
        "images": search.store.content_hash,
    }
    write_json(folder / CALIBRATION_FILE, calibration)


def _without(external: Path, found: DuplicateFinding) -> pd.DataFrame:
    """The table as it is, all its columns, without the rows that were found to be copies."""
    table = load_texts(external)
    return table[~table["Id"].str.strip().isin(found.removed_ids)]


def _kept_groups(found: DuplicateFinding) -> dict[str, str]:
    """Of the rows that stay; a group that has only one of them left is none."""
    kept = {i: group for i, group in found.group_of.items() if i not in found.removed_ids}
    sizes = pd.Series(kept.values()).value_counts()
    return {i: group for i, group in kept.items() if sizes[group] > 1}
