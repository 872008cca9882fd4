"""The manifest: all images of a data folder, their labels, and their files.

All problems of a data folder are found here at once, and later code relies on it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from atlas.core.errors import DataError
from atlas.core.files import content_hash
from atlas.dataset.corrections import with_corrections
from atlas.dataset.headers import check_all, find_files
from atlas.dataset.image_folders import is_image_folder
from atlas.dataset.plain_folder import (
    Picture,
    PlainFolder,
    is_plain,
    read_plain_folder,
    warn_of_left_out,
)
from atlas.dataset.spec import (
    HPA_2018,
    SPEC_FILE,
    AtlasSpec,
    has_spec,
    image_folders,
    read_spec,
    spec_of_plain,
)
from atlas.dataset.tables import (
    GROUPS_TABLE,
    TABLES,
    Draft,
    Split,
    id_problems,
    parent_problems,
    read_groups,
    read_labelled,
    read_test,
    shared_file_problems,
)

LABELLED: tuple[Split, ...] = ("train", "external")
SPLITS: tuple[Split, ...] = (*LABELLED, "test")


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One image, a field of view.

    Attributes:
        id: The id of the image.
        split: The split of the image.
        files: One file for each channel, or one file that holds all channels. It is empty if only
            tables were read.
        width_px: The width of the files.
        height_px: The height of the files.
        labels: Label numbers. None means that labels are not known (test); an empty tuple means
            that a picture of a plain folder lies in no subfolder.
        identity: The class of the image for metric learning (the antibody), or None if unknown.
        group: The group of the image, whose images a split must keep together. None is a group of
            its own.
        parent: The image from which this image was made, or None for an original.
    """

    id: str
    split: Split
    files: tuple[Path, ...]
    width_px: int
    height_px: int
    labels: tuple[int, ...] | None = None
    identity: str | None = None
    group: str | None = None
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The images of an atlas: train first, then external, then test. All ids are unique."""

    spec: AtlasSpec
    rows: tuple[ImageRow, ...]

    @cached_property
    def by_id(self) -> dict[str, ImageRow]:
        """The images by id."""
        return {row.id: row for row in self.rows}

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of the images in order."""
        return tuple(row.id for row in self.rows)

    def of(self, *splits: Split) -> "Manifest":
        """Return the images of these splits."""
        return Manifest(spec=self.spec, rows=tuple(r for r in self.rows if r.split in splits))

    @property
    def labelled(self) -> "Manifest":
        """The labelled images, which are those of train and external."""
        return self.of(*LABELLED)

    @property
    def parents(self) -> dict[str, str]:
        """The image from which an image was made, by id, for those that were made."""
        return {row.id: row.parent for row in self.rows if row.parent}

    @cached_property
    def repeated_identities(self) -> frozenset[str]:
        """Identities of at least two labelled images. Others have nothing to teach."""
        counts = Counter(row.identity for row in self.labelled.rows if row.identity)
        return frozenset(identity for identity, count in counts.items() if count > 1)

    @cached_property
    def table_hash(self) -> str:
        """The hash of the tables, which does not depend on pixels."""
        return content_hash(repr(self.spec), *map(_said_of, self.rows))


def read_manifest(data: Path, splits: Sequence[Split] = SPLITS) -> Manifest:
    """Return the manifest of a data folder, or of some of its splits.

    A folder with tables must have no problems, such as unknown labels, ids that occur twice, or
    channel files that are missing, unreadable, or of other sizes or modes. In a plain folder,
    pictures that cannot be read are left out with a warning.

    Raises:
        DataError: The tables or the headers of images have problems, all of which are listed; or no
            picture of a plain folder can be read.
    """
    if _is_plain(data):
        return manifest_of_plain(read_plain_folder(data)).of(*splits)
    spec, drafts, groups, problems = _read_all(data)
    wanted = [draft for draft in drafts if draft.split in splits]
    found = find_files(image_folders(data), spec, wanted, problems)
    problems += shared_file_problems(found)
    if spec is HPA_2018 and found and not any(files for _, files in found):
        problems.insert(0, f"no {SPEC_FILE}: the folder is read as HPA 2018, with files such as "
                           "ID_red.png; describe other files in that file")  # fmt: skip
    sizes = check_all(found, spec, problems)
    if problems:
        raise DataError(str(data), problems)
    rows = [
        _row(draft, groups, files, *size) for (draft, files), size in zip(found, sizes, strict=True)
    ]
    return Manifest(spec=spec, rows=tuple(rows))


def manifest_of_plain(folder: PlainFolder) -> Manifest:
    """Return the manifest of a plain folder, and log what was left out."""
    warn_of_left_out(folder)
    rows = tuple(_row_of_picture(picture, folder) for picture in folder.pictures)
    return Manifest(spec=spec_of_plain(folder), rows=rows)


def read_tables(data: Path) -> Manifest:
    """Return the manifest of the tables alone: its rows have no files and size 0.

    A plain folder has no tables, so its whole manifest is returned.

    Raises:
        DataError: The tables have problems. All of them are listed.
    """
    if _is_plain(data):
        return read_manifest(data)
    spec, drafts, groups = _sound_tables(data)
    rows = tuple(_row(draft, groups, (), 0, 0) for draft in drafts)
    return Manifest(spec=spec, rows=rows)


def read_files(data: Path) -> Manifest:
    """Return the manifest of the images whose files are all there. Rows of tables have size 0.

    No image is opened, except in a plain folder, which has no tables.

    Raises:
        DataError: The tables have problems. All of them are listed.
    """
    if _is_plain(data):
        return read_manifest(data)
    spec, drafts, groups = _sound_tables(data)
    missing: list[str] = []  # reported by the commands that need the images
    found = find_files(image_folders(data), spec, drafts, missing)
    rows = [
        _row(draft, groups, files, 0, 0)
        for draft, files in found
        if len(files) == len(spec.file_channels)
    ]
    return Manifest(spec=spec, rows=tuple(rows))


def read_test_ids(data: Path) -> tuple[str, ...]:
    """Return the ids of sample_submission.csv in order, or none if the table does not exist.

    For a plain folder they are the pictures in its subfolder `test`.

    Raises:
        DataError: The table has problems. All of them are listed.
    """
    if _is_plain(data):
        return read_manifest(data, ("test",)).ids
    problems: list[str] = []
    drafts = list(read_test(data / TABLES["test"], problems))
    problems += id_problems(drafts, read_spec(data).names)
    if problems:
        raise DataError(str(data), problems)
    return tuple(draft.id for draft in drafts)


def require_test_ids(data: Path) -> tuple[str, ...]:
    """Return the ids of sample_submission.csv, of which there must be at least one.

    Raises:
        DataError: The table has problems or names no images.
    """
    _require_folder(data)
    ids = read_test_ids(data)
    if not ids:
        raise DataError(str(data), [f"{TABLES['test']} names no test images"])
    return ids


def read_labels(data: Path) -> dict[str, tuple[int, ...]]:
    """Return the labels of the labelled tables by id, without reading images.

    Raises:
        DataError: The tables have problems. All of them are listed.
    """
    drafts = read_labelled_tables(data)
    return {draft.id: draft.labels for draft in drafts if draft.labels is not None}


def read_labelled_tables(data: Path) -> list[Draft]:
    """Return the rows of train.csv and external.csv, without reading images.

    A plain folder has no tables. Its rows are those that its train.csv would have.

    Raises:
        DataError: The tables have problems. All of them are listed.
    """
    if _is_plain(data):
        labelled = read_manifest(data, LABELLED).rows
        return [
            Draft(where=row.id, id=row.id, split=row.split, labels=row.labels) for row in labelled
        ]
    problems: list[str] = []
    drafts = _read_tables(data, read_spec(data), problems)
    problems += parent_problems(drafts)
    if problems:
        raise DataError(str(data), problems)
    return [draft for draft in drafts if draft.split in LABELLED]


def _is_plain(data: Path) -> bool:
    return not has_spec(data) and is_plain(data)


def _row_of_picture(picture: Picture, folder: PlainFolder) -> ImageRow:
    return ImageRow(
        id=picture.id,
        split=picture.split,
        files=(picture.file,),
        width_px=picture.header.width_px,
        height_px=picture.header.height_px,
        labels=folder.labels_of(picture),
    )


def _said_of(row: ImageRow) -> str:
    group = "" if row.group is None else f"|{row.group}"
    parent = "" if row.parent is None else f"|made from {row.parent}"
    return f"{row.id}|{row.split}|{row.labels}|{row.identity}{group}{parent}"


def _sound_tables(data: Path) -> tuple[AtlasSpec, list[Draft], dict[str, str]]:
    """Return what `_read_all` does, if the tables have no problems.

    Raises:
        DataError: They have some.
    """
    spec, drafts, groups, problems = _read_all(data)
    if problems:
        raise DataError(str(data), problems)
    return spec, drafts, groups


def _require_folder(data: Path) -> None:
    if not data.is_dir():
        raise DataError(
            str(data),
            ["folder does not exist; give --data a folder of pictures, or one with train.csv"],
        )


def _read_all(data: Path) -> tuple[AtlasSpec, list[Draft], dict[str, str], list[str]]:
    """Return the rows and groups of the tables, and their problems."""
    _require_folder(data)
    if is_image_folder(data):
        raise DataError(str(data), ["folder is an image; give the folder in which it lies"])
    spec = read_spec(data)
    problems: list[str] = []
    drafts = _read_tables(data, spec, problems)
    problems += id_problems(drafts, spec.names)
    problems += parent_problems(drafts)
    groups = read_groups(data / GROUPS_TABLE, {draft.id for draft in drafts}, problems)
    return spec, drafts, groups, problems


def _row(
    draft: Draft, groups: dict[str, str], files: tuple[Path, ...], width_px: int, height_px: int
) -> ImageRow:
    return ImageRow(
        id=draft.id, split=draft.split, files=files, labels=draft.labels,
        identity=draft.identity, group=groups.get(draft.id, draft.group), parent=draft.parent,
        width_px=width_px, height_px=height_px,
    )  # fmt: skip


def _read_tables(data: Path, spec: AtlasSpec, problems: list[str]) -> list[Draft]:
    drafts: list[Draft] = []
    for split in LABELLED:
        path = data / TABLES[split]
        if split == "train" or path.exists():
            drafts += read_labelled(
                path,
                split,
                len(spec.labels),
                problems,
                hpa_ids=spec is HPA_2018,
                may_lack_labels=spec.by_path,
            )
    drafts = with_corrections(drafts, data, len(spec.labels), problems)
    return [*drafts, *read_test(data / TABLES["test"], problems)]
