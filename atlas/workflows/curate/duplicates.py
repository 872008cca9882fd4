"""Copies within the labelled images: the index proposes pairs and their pixels decide."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from atlas.core.files import write_json
from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import SAME_IMAGE, save_table
from atlas.dataset.chosen_images import chosen_images
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import LABELLED, Manifest
from atlas.dataset.table_file import read_frame
from atlas.dataset.tables import GROUPS_TABLE, TABLES
from atlas.dataset.verdicts import Pair, read_verdicts, verdicts_beside
from atlas.workflows.curate.kept_images import preference_of
from atlas.workflows.embed.index import open_atlas_index
from atlas.workflows.leaks.calibration import SameImageMeasurement, measure_same_image
from atlas.workflows.leaks.pictures import save_pairs
from atlas.workflows.leaks.search import LeakSearch, open_leak_search
from atlas.workflows.leaks.verdicts import judged_images, with_accepted
from atlas.workflows.made_from import save_images
from atlas.workflows.run_folder import CALIBRATION_FILE, COPIES_FILE
from index.claims.duplicates import (
    choose_kept,
    copy_table,
    find_duplicates,
    group_table,
    linked,
    tied,
)
from index.claims.leaks import find_matches
from index.claims.verdicts import with_verdicts
from index.settings import DuplicateSettings, RegistrationSettings
from index.siblings.calibration import no_siblings

DUPLICATES_FILE = "duplicates.csv"
CLEANED_FOLDER = "cleaned"
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class DuplicateFinding:
    """The copies that were found.

    Attributes:
        manifest: The atlas.
        table: The rows of duplicates.csv.
        copies: The rows of copies.csv.
        group_of: The group of every labelled image that is tied to another, by copies or by an
            existing group.
        same_image: The calibration of copies.
    """

    manifest: Manifest
    table: pd.DataFrame
    copies: pd.DataFrame
    group_of: dict[str, str]
    same_image: SameImageMeasurement

    @property
    def kept_for(self) -> dict[str, str]:
        """Return, for each image that the cleaned tables leave out, the copy that they keep."""
        return dict(zip(self.table["id"], self.table["kept"], strict=True))

    @property
    def copies_of_train(self) -> int:
        """Return the number of external images that are copies of train images."""
        kept_splits = self.table["kept"].map(lambda kept: self.manifest.by_id[kept].split)
        return int(((self.table["split"] == "external") & (kept_splits == "train")).sum())

    @property
    def disagreements(self) -> pd.DataFrame:
        """Return the copies with different labels, the most certain first, with both label sets."""
        found = self.table[self.table["same_labels"] == "no"].sort_values(
            ["registration_score", "id"], ascending=[False, True]
        )
        labels = {row.id: format_labels(row.labels or ()) for row in self.manifest.rows}
        return found.assign(labels=found["id"].map(labels),
                            other_labels=found["duplicate_of"].map(labels))  # fmt: skip


@writes("out")
def remove_duplicates(
    data: Path,
    index_folder: Path,
    out: Path,
    settings: DuplicateSettings,
    registration: RegistrationSettings,
) -> DuplicateFinding:
    """Write duplicates.csv, copies.csv, groups.csv and calibration.json to `out`.

    One image of each group of copies is kept: the one that people have chosen, or that the policy
    of the settings keeps. `data` is not changed. The folder `cleaned` in `out` has the tables of
    `data` without the others, as far as they change, and the groups.csv that belongs to them. It is
    not written for a plain folder, which has no tables.
    """
    check_replaceable(out, "remove_duplicates")
    manifest, index = open_atlas_index(data, index_folder)
    search = open_leak_search(manifest, index, cache_folder(out), settings.of_copies, registration)
    found = _find(search, manifest, settings, out)
    with folder_written_beside(out, written_by="remove_duplicates") as folder:
        _write(folder, found, search, settings)
        _write_cleaned(folder / CLEANED_FOLDER, found, data)
    return found


def _find(
    search: LeakSearch, manifest: Manifest, settings: DuplicateSettings, out: Path
) -> DuplicateFinding:
    index, ids = search.index, manifest.labelled.ids
    splits = {row.id: row.split for row in manifest.labelled.rows}
    images = search.stored("labelled images")
    said = read_verdicts(verdicts_beside(out))
    judged = judged_images(said, search.store.key_of)
    vectors = index.embeddings
    neighbours = with_accepted(search.candidates(vectors, images), judged, vectors, vectors)
    registrations = search.registrations(neighbours, images)
    same_image = measure_same_image(_train_only(search, manifest))
    by_scores = find_matches(
        neighbours, registrations, same_image.calibration, no_siblings("not asked for"),
        equal_NK=search.equal(neighbours), splits=splits, identities={}, siblings={},
    )  # fmt: skip
    links = linked(with_verdicts(by_scores, judged, index.identities), judged)
    groups = tied(ids, links)
    preference = preference_of(settings.keep, manifest, groups)
    parents = manifest.labelled.parents
    table = find_duplicates(
        links, ids, splits=splits, labels=index.labels, parents=parents, preference=preference,
        chosen=chosen_images(said, groups, search.store.key_of),
    )  # fmt: skip
    by_policy = choose_kept(groups, splits=splits, parents=parents, preference=preference)
    copies = zip(table["id"], table["duplicate_of"], strict=True)
    return DuplicateFinding(
        manifest=manifest,
        table=table,
        copies=_with_sizes(copy_table(by_policy, groups, preference), manifest),
        group_of=tied(ids, [*copies, *_known_ties(manifest)]),
        same_image=same_image,
    )


def _with_sizes(copies: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    rows = [manifest.by_id[image_id] for image_id in copies["id"]]
    return copies.assign(
        width_px=[row.width_px for row in rows], height_px=[row.height_px for row in rows]
    )


def _train_only(search: LeakSearch, manifest: Manifest) -> LeakSearch:
    """Return a search of train images only, for the measurement of the threshold.

    External images may be copies of train images by the thousand, and would then be mistaken for
    non-matches that look alike.
    """
    index, ids = search.index, manifest.of("train").ids
    table = index.table[index.table["split"] == "train"].reset_index(drop=True)
    vectors = index.embeddings.aligned_to(ids)
    train = replace(index, table=table, read_embeddings=lambda: vectors)
    return replace(search, index=train)


def _known_ties(manifest: Manifest) -> Iterator[Pair]:
    """Yield each image with the first of its group, so that existing groups stay together."""
    first: dict[str, str] = {}
    for row in manifest.labelled.rows:
        if row.group is not None:
            yield row.id, first.setdefault(row.group, row.id)


def _write(
    folder: Path, found: DuplicateFinding, search: LeakSearch, settings: DuplicateSettings
) -> None:
    save_table(folder / DUPLICATES_FILE, found.table)
    save_table(folder / COPIES_FILE, found.copies)
    save_images(folder, {i: search.store.key_of[i] for i in found.copies["id"]})
    save_table(folder / GROUPS_TABLE, group_table(found.group_of))
    if len(found.table):
        least_sure = found.table.sort_values(["registration_score", "id"])[:SHOWN]
        pairs = [
            (row["id"], row["duplicate_of"], f"registration score {row['registration_score']:.1f}")
            for row in least_sure.to_dict("records")
        ]
        title = (
            f"{len(found.table)} copies of images that are kept, and their matches (least certain "
            "first)"
        )
        save_pairs(folder / "duplicates.png", pairs, search.store, title=title)
    calibration = {
        SAME_IMAGE: asdict(found.same_image.calibration),
        "planted_recall": found.same_image.planted_recall,
        "candidate_recall": found.same_image.candidate_recall,
        "settings": asdict(search.settings) | {"keep": settings.keep},
        "registration": asdict(search.registration),
        "embedder": search.embedder.maker,
        "further_embedders": search.further_makers,
        "images": search.store.content_hash,
    }
    write_json(folder / CALIBRATION_FILE, calibration)


def _write_cleaned(folder: Path, found: DuplicateFinding, data: Path) -> None:
    """Write the labelled tables that change without copies, and the groups that belong to them."""
    for split in LABELLED:
        path = data / TABLES[split]
        if path.exists():
            table = read_frame(path, ("Id",))
            cleaned = _without_copies(table, found)
            if not cleaned.equals(table):
                save_table(folder / path.name, cleaned)
    if folder.exists():
        save_table(folder / GROUPS_TABLE, group_table(_kept_groups(found)))


def _without_copies(table: pd.DataFrame, found: DuplicateFinding) -> pd.DataFrame:
    """Return a table with all its columns, without the rows of copies that are not kept.

    An image that was made from one of these names the copy that is kept as its Parent.
    """
    table = table[~table["Id"].isin(found.kept_for)]
    if "Parent" in table:
        table = table.assign(Parent=table["Parent"].replace(found.kept_for))
    return table


def _kept_groups(found: DuplicateFinding) -> dict[str, str]:
    """Return the groups of the remaining rows, without groups of a single image."""
    kept = {i: group for i, group in found.group_of.items() if i not in found.kept_for}
    sizes = pd.Series(kept.values()).value_counts()
    return {i: group for i, group in kept.items() if sizes[group] > 1}
