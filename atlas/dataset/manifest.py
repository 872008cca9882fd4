"""Which images there are, what is known of each, and where their files lie.

Everything that can be wrong with a data folder is found here, at once; later code trusts it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from atlas.core.errors import DataError
from atlas.core.files import content_hash
from atlas.dataset.headers import check_all, find_files
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
)

LABELLED: tuple[Split, ...] = ("train", "external")
SPLITS: tuple[Split, ...] = (*LABELLED, "test")


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One field of view.

    labels: numbers into the atlas's labels; None where they are not known (test), none where a
        picture of a plain folder lies in no subfolder.
    identity: what the metric model's classes are (the antibody); None where unknown.
    group: rows that must not be parted by a split; None stands for a group of its own.
    parent: the image this one was made from; None for an original.
    files: one for each channel, or one that holds them all; none where only tables were read.
    width_px, height_px: as on disk.
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
    """The rows of an atlas, train first, then external, then test; ids are unique over all."""

    spec: AtlasSpec
    rows: tuple[ImageRow, ...]

    @cached_property
    def by_id(self) -> dict[str, ImageRow]:
        return {row.id: row for row in self.rows}

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(row.id for row in self.rows)

    def of(self, *splits: Split) -> "Manifest":
        """The rows of these splits."""
        return Manifest(spec=self.spec, rows=tuple(r for r in self.rows if r.split in splits))

    @property
    def labelled(self) -> "Manifest":
        return self.of(*LABELLED)

    @cached_property
    def repeated_identities(self) -> frozenset[str]:
        """Identities of two labelled rows or more; one that occurs once says nothing."""
        counts = Counter(row.identity for row in self.labelled.rows if row.identity)
        return frozenset(identity for identity, count in counts.items() if count > 1)

    @cached_property
    def table_hash(self) -> str:
        """Of what the tables say, not of the pixels."""
        return content_hash(repr(self.spec), *map(_said_of, self.rows))


def read_manifest(data: Path, splits: Sequence[Split] = SPLITS) -> Manifest:
    """The manifest of a data folder, or of some of its splits.

    A folder with tables is read strictly: DataError lists every problem of the tables and of the
    images' headers: unknown labels, ids that occur twice, channel files that are missing,
    unreadable, of other sizes or modes. Of a plain folder of pictures those that cannot be read
    are left out with a warning, and DataError is raised where none can be.
    """
    if _is_plain(data):
        return manifest_of_plain(read_plain_folder(data)).of(*splits)
    spec, drafts, groups, problems = _read_all(data)
    wanted = [draft for draft in drafts if draft.split in splits]
    found = find_files(image_folders(data), spec, wanted, problems)
    sizes = check_all(found, spec, problems)
    if problems:
        raise DataError(str(data), problems)
    rows = [
        _row(draft, groups, files, *size) for (draft, files), size in zip(found, sizes, strict=True)
    ]
    return Manifest(spec=spec, rows=tuple(rows))


def manifest_of_plain(folder: PlainFolder) -> Manifest:
    """The manifest of a plain folder. Logs what was left out."""
    warn_of_left_out(folder)
    rows = tuple(_row_of_picture(picture, folder) for picture in folder.pictures)
    return Manifest(spec=spec_of_plain(folder), rows=rows)


def read_tables(data: Path) -> Manifest:
    """What the tables say, no image is looked at: rows without files, of size 0.

    Of a plain folder, which has no tables, it is the manifest. Raises DataError with every problem
    of the tables.
    """
    if _is_plain(data):
        return read_manifest(data)
    spec, drafts, groups, problems = _read_all(data)
    if problems:
        raise DataError(str(data), problems)
    rows = tuple(_row(draft, groups, (), 0, 0) for draft in drafts)
    return Manifest(spec=spec, rows=rows)


def read_test_ids(data: Path) -> tuple[str, ...]:
    """The ids of sample_submission.csv in its order; none without that table. Raises DataError.

    Of a plain folder they are those of the pictures in its folder `test`.
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
    """Return the ids of sample_submission.csv. Raises DataError also where it names none."""
    ids = read_test_ids(data)
    if not ids:
        raise DataError(str(data), [f"{TABLES['test']} names no test images"])
    return ids


def read_labels(data: Path) -> dict[str, tuple[int, ...]]:
    """Labels by id of the labelled tables alone; no image is looked at. Raises DataError."""
    drafts = read_labelled_tables(data)
    return {draft.id: draft.labels for draft in drafts if draft.labels is not None}


def read_labelled_tables(data: Path) -> list[Draft]:
    """The rows of train.csv and external.csv; no image is looked at. Raises DataError.

    Of a plain folder, which has no tables, they are what its train.csv would hold.
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
    return not (data / SPEC_FILE).exists() and is_plain(data)


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


def _read_all(data: Path) -> tuple[AtlasSpec, list[Draft], dict[str, str], list[str]]:
    """Rows and groups of the tables, and what is wrong with them."""
    if not data.is_dir():
        raise DataError(
            str(data), ["no such folder; give --data a folder of pictures, or one with train.csv"]
        )
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
    return [*drafts, *read_test(data / TABLES["test"], problems)]
