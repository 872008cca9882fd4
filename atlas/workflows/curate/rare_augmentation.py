"""An atlas with more images of its rare labels: the original images, and changed copies of some.

Axes: N labelled images, L labels.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.files import content_hash, json_text, write_json, written_beside
from atlas.core.locks import writes
from atlas.core.progress import tracked
from atlas.core.result_files import read_json
from atlas.core.result_folder import folder_filled_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import save_table
from atlas.dataset.atlas_folder import write_tables_of
from atlas.dataset.file_keys import FileKeys
from atlas.dataset.image_files import (
    id_of_made,
    link_or_copy,
    made_places,
    own_places,
    read_row,
    write_field,
)
from atlas.dataset.manifest import ImageRow, Manifest, read_labelled_tables, read_manifest
from atlas.dataset.metrics import label_matrix
from atlas.dataset.picture_files import is_picture_name
from atlas.dataset.spec import AtlasSpec, read_spec
from atlas.dataset.table_file import read_frame
from atlas.dataset.tables import TABLES, Draft
from atlas.training.augmentation import Augment
from atlas.training.loaders import seed_of
from atlas.workflows.settings import RareSettings

NOTES_FILE = "augmented.json"

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RarePlan:
    """The copies to make.

    Attributes:
        least: The number of images that each label should have.
        copies_N: The number of copies of each image.
        before_L, after_L: The number of images with each label.
        out_of_reach: Labels with fewer than `least` images that no original has.
    """

    least: int
    copies_N: Counts
    before_L: Counts
    after_L: Counts
    out_of_reach: tuple[int, ...]

    @property
    def made(self) -> int:
        """Return the number of copies."""
        return int(self.copies_N.sum())


@dataclass(frozen=True, kw_only=True)
class RareAugmentation:
    """The result of an augmentation.

    Attributes:
        plan: The copies.
        labels: The names of the labels.
        images: The number of labelled images before.
        already_there: Whether the folder already contained this atlas.
    """

    plan: RarePlan
    labels: tuple[str, ...]
    images: int
    already_there: bool = False


def plan_of(data: Path, settings: RareSettings) -> RareAugmentation:
    """Return what would be made, from the tables alone; the images may be missing.

    Raises:
        DataError: The tables have problems.
    """
    labels = read_spec(data).labels
    rows = read_labelled_tables(data)
    return RareAugmentation(
        plan=_plan(rows, len(labels), settings), labels=labels, images=len(rows)
    )


@writes("out")
def augment_rare(data: Path, out: Path, settings: RareSettings) -> RareAugmentation:
    """Write the atlas folder `out`, completely or not at all; the work of a stopped run is kept.

    Images of `data` are linked, or copied if they cannot be linked. Copies follow the other images
    in the table of their parent, with its columns and a column Parent.

    Raises:
        DataError: The data folder has problems.
        UserError: `out` contains something else.
    """
    if out.resolve() == data.resolve():
        raise UserError(f"{out} is the atlas itself; give another --out")
    manifest = read_manifest(data)
    rows = manifest.labelled.rows
    plan = _plan(rows, len(manifest.spec.labels), settings)
    made = _images_to_make(manifest, plan)
    key = _key(manifest, settings, cache_folder(out))
    done = RareAugmentation(plan=plan, labels=manifest.spec.labels, images=len(rows))
    if _made_from(out) == key:
        return replace(done, already_there=True)
    with folder_filled_beside(out, written_by="augment_rare", key=key) as folder:
        for row in manifest.rows:
            places = own_places(folder / row.split, row, manifest.spec)
            for file, place in zip(row.files, places, strict=True):
                link_or_copy(file, place)
        _make(made, manifest.spec, settings, folder)
        _write_tables(data, folder, made)
        notes = {"made_from": key, "least": settings.least, "seed": settings.seed}
        notes |= {"augmentation": settings.augmentation, "made": len(made)}
        write_json(folder / NOTES_FILE, notes)
    return done


def plan_rare(
    carries_NL: NDArray[np.bool_], original_N: NDArray[np.bool_], *, least: int, seed: int
) -> RarePlan:
    """Plan copies of originals, until every label that can has at least `least` images.

    An image counts for all of its labels, so a copy for a rare label also adds to common ones. The
    plan is greedy: the label with the fewest images gets the next copy (the first in a tie). The
    copy is made of the image that was used least, then of the one with the most labels that are
    still short, then with the fewest that are not, and then at random.

    Args:
        carries_NL: Whether the image has the label.
        original_N: Whether the image is an original.
        least: The number of images that each label should have.
        seed: The seed of the random choice.
    """
    carries = carries_NL.astype(np.int64)
    counts_L, copies_N = carries.sum(axis=0), np.zeros(len(carries), np.int64)
    order_N = np.random.default_rng(seed).permutation(len(carries))
    sources = [np.flatnonzero(has_N & original_N) for has_N in carries_NL.T]
    possible_L = np.array([len(own) > 0 for own in sources], bool)
    while (short_L := possible_L & (counts_L < least)).any():
        rarest = int(np.argmin(np.where(short_L, counts_L, least)))
        own = sources[rarest]
        wanted, others = carries[own] @ short_L, carries[own] @ ~short_L
        chosen = own[np.lexsort((order_N[own], others, -wanted, copies_N[own]))[0]]
        copies_N[chosen] += 1
        counts_L = counts_L + carries[chosen]
    return RarePlan(
        least=least,
        copies_N=copies_N,
        before_L=carries.sum(axis=0),
        after_L=counts_L,
        out_of_reach=tuple(np.flatnonzero(counts_L < least).tolist()),
    )


@dataclass(frozen=True, kw_only=True)
class _Made:
    """An image to be made."""

    id: str
    parent: ImageRow


def _plan(
    rows: Sequence[ImageRow] | Sequence[Draft], label_count: int, settings: RareSettings
) -> RarePlan:
    carries_NL = label_matrix([row.labels or () for row in rows], label_count).astype(bool)
    original_N = np.array([row.parent is None for row in rows], bool)
    return plan_rare(carries_NL, original_N, least=settings.least, seed=settings.seed)


def _images_to_make(manifest: Manifest, plan: RarePlan) -> list[_Made]:
    """Return the images to be made, with ids that are not in use."""
    taken, made = set(manifest.ids), []
    for row, copies in zip(manifest.labelled.rows, plan.copies_N.tolist(), strict=True):
        number = 0
        for _ in range(copies):
            number += 1
            while (name := id_of_made(row.id, f"_augmented_{number}", manifest.spec)) in taken:
                number += 1
            made.append(_Made(id=name, parent=row))
    return made


def _key(manifest: Manifest, settings: RareSettings, work: Path) -> str:
    keys = FileKeys(manifest.rows, work)
    key = content_hash(manifest.table_hash, *keys, json_text(settings))
    keys.keep()
    return key


def _made_from(out: Path) -> str | None:
    notes = out / NOTES_FILE
    found = read_json(notes) if notes.is_file() else {}
    key = found.get("made_from")
    return None if key is None else str(key)


def _make(made: Sequence[_Made], spec: AtlasSpec, settings: RareSettings, folder: Path) -> None:
    augment = Augment(settings.augmentation)
    for image in tracked(made, "augmenting"):
        places = made_places(folder / image.parent.split, image.id, spec)
        if all(place.exists() for place in places):
            continue
        field = read_row(image.parent, spec)
        changed = augment(field, seed_of("rare", settings.seed, image.id))
        write_field(places, changed, spec)


def _write_tables(data: Path, folder: Path, made: Sequence[_Made]) -> None:
    for file in data.iterdir():
        if file.is_file() and not is_picture_name(file.name):
            with written_beside(folder / file.name) as beside:
                shutil.copy2(file, beside)
    write_tables_of(data, folder)
    for split in ("train", "external"):
        path = folder / TABLES[split]
        if path.exists():
            own = [image for image in made if image.parent.split == split]
            save_table(path, _longer(path, own))


def _longer(path: Path, made: Sequence[_Made]) -> pd.DataFrame:
    table = read_frame(path, ("Id",))
    table = table.set_index(table["Id"], drop=False)
    if "Parent" not in table:
        table["Parent"] = ""
    added = table.loc[[image.parent.id for image in made]].copy()
    added["Parent"] = added.index
    added["Id"] = [image.id for image in made]
    return pd.concat([table, added])
