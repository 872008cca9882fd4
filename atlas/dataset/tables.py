"""The tables of a data folder: their rows, the lines of the rows, and their problems.

Nothing is raised here. Problems are collected, so that a user sees all of them at once.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from atlas.core.escaping import escaped, is_formula, quoted
from atlas.dataset.hpa import parse_hpa_id
from atlas.dataset.labels import distinct_labels, label_problems
from atlas.dataset.picture_files import LONGEST_FILE_NAME, composed
from atlas.dataset.table_file import SEPARATORS, is_missing, read_table_file

LOGGER = logging.getLogger(__name__)

Split = Literal["train", "external", "test"]

# The table of each split.
TABLES: dict[Split, str] = {
    "train": "train.csv",
    "external": "external.csv",
    "test": "sample_submission.csv",
}
GROUPS_TABLE = "groups.csv"
CORRECTIONS_TABLE = "corrections.csv"
NAMES = ("Identity", "Parent", "Group")  # columns whose cells are names, beside the id


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A row of a table before its files are known.

    Attributes:
        where: The table and line, for messages.
        id: The id of the image.
        split: The split of the image.
        labels: See `ImageRow`, as for the other attributes.
    """

    where: str
    id: str
    split: Split
    labels: tuple[int, ...] | None = None
    identity: str | None = None
    group: str | None = None
    parent: str | None = None


def read_labelled(
    path: Path,
    split: Split,
    label_count: int,
    problems: list[str],
    *,
    hpa_ids: bool,
    may_lack_labels: bool = False,
) -> Iterator[Draft]:
    """Yield the rows of a labelled table, with Id, Target, and perhaps Identity and Parent.

    An identity groups its images, including those of one well. Without an identity, the images of a
    well form a group.

    Args:
        path: The table. external.csv may have no rows.
        split: The split of the rows.
        label_count: The number of labels of the atlas.
        problems: The list to which problems are added.
        hpa_ids: Whether ids are parsed as those of HPA v18. Without a column Identity, the antibody
            of an id is then its identity.
        may_lack_labels: Whether a Target may be empty.
    """
    missing: Counter[str] = Counter()  # words such as "nan", by column

    def value(row: dict[str, str], column: str) -> str | None:
        cell = row.get(column, "")
        missing[column] += bool(cell) and is_missing(cell)
        return None if is_missing(cell) else cell

    for where, row in table_rows(
        path,
        ("Id", "Target"),
        problems,
        optional=("Identity", "Parent"),
        may_be_empty=split == "external",
    ):
        named = parse_hpa_id(row["Id"]) if hpa_ids else None
        antibody = named.antibody if named else None
        identity = value(row, "Identity") if "Identity" in row else antibody
        yield Draft(
            where=where,
            id=row["Id"],
            split=split,
            labels=()
            if may_lack_labels and value(row, "Target") is None
            else _labels(row["Target"], where, label_count, problems),
            identity=identity,
            group=named.specimen if named and not identity else None,
            parent=value(row, "Parent"),
        )
    for column, count in (+missing).items():
        _warn_once(
            f"{path}: {count:,} cells of {column} hold a word such as nan or NA and are read as "
            "empty; choose another name if a word is a name"
        )


def read_test(path: Path, problems: list[str]) -> Iterator[Draft]:
    """Yield the rows of sample_submission.csv, if the table exists."""
    if path.exists():
        for where, row in table_rows(path, ("Id",), problems):
            yield Draft(where=where, id=row["Id"], split="test")


def read_groups(path: Path, known_ids: Collection[str], problems: list[str]) -> dict[str, str]:
    """Return the Group of each Id in groups.csv. The table may be empty or missing."""
    groups: dict[str, str] = {}
    seen: dict[str, str] = {}
    known = {composed(image_id): image_id for image_id in known_ids}
    rows = table_rows(path, ("Id", "Group"), problems, may_be_empty=True) if path.exists() else ()
    for where, row in rows:
        image_id = known.get(composed(row["Id"]), "")
        if not image_id:
            problems.append(f"{where}: id {quoted(row['Id'])} is in no other table; remove the row")
        elif image_id in seen:
            problems.append(f"{where}: id {image_id} is already in {seen[image_id]}; keep one")
        elif is_missing(row["Group"]):
            word = f" ({row['Group']})" if row["Group"] else ""
            problems.append(f"{where}: Group is empty{word}; fill it in or remove the row")
        else:
            seen[image_id], groups[image_id] = where, row["Group"]
    return groups


def id_problems(drafts: Sequence[Draft], names: Callable[[str], bool]) -> Iterator[str]:
    """Yield a problem for each id that is empty, cannot name a file, or occurs twice.

    Ids must differ within a table and across tables. An id must not be a formula, because people
    open the tables of results in spreadsheets.

    Args:
        drafts: The rows of all tables.
        names: A function that returns whether an id can be part of file names.
    """
    seen: dict[str, str] = {}
    for draft in drafts:
        if not draft.id:
            yield f"{draft.where}: Id is empty"
        elif max(len(part.encode()) for part in draft.id.split("/")) > LONGEST_FILE_NAME:
            yield f"{draft.where}: id {quoted(draft.id)} is too long for the name of a file"
        elif not names(draft.id):
            yield (
                f"{draft.where}: id {draft.id!r} cannot be part of a file name (it has a path "
                "separator or an unprintable character), or is not the path of a picture"
            )
        elif is_formula(draft.id):
            yield (
                f"{draft.where}: id {draft.id!r} is a formula for spreadsheets; rename the image "
                "so that its id does not begin with =, @, + or -"
            )
        elif draft.id in seen:
            yield f"{draft.where}: id {draft.id} is already in {seen[draft.id]}; keep one"
        else:
            seen[draft.id] = draft.where


def parent_problems(drafts: Sequence[Draft]) -> Iterator[str]:
    """Yield a problem for each Parent that is not a labelled image, or is the row itself."""
    labelled = {draft.id for draft in drafts if draft.split != "test"}
    for draft in drafts:
        if draft.parent == draft.id:
            yield f"{draft.where}: id {draft.id} is its own Parent; leave Parent empty"
        elif draft.parent is not None and draft.parent not in labelled:
            yield (
                f"{draft.where}: Parent {quoted(draft.parent)} is not a labelled image; "
                "add it, or remove this row"
            )


def shared_file_problems(found: Sequence[tuple[Draft, tuple[Path, ...]]]) -> Iterator[str]:
    """Yield a problem for each row that shares a file with a row of another id.

    Two ids may differ only in whether accents are composed. With the pattern "{id}{channel}.png"
    and the channels red and darkred, the file of one id may also be read as that of another one.
    """
    owners: dict[Path, Draft] = {}
    for draft, files in found:
        for file in files:
            owner = owners.setdefault(file, draft)
            if owner.id != draft.id:
                yield (
                    f"{draft.where}: {file.name} is also a file of {owner.id} ({owner.where}); "
                    "keep one row, or rename the files so that they fit one id only"
                )


def table_rows(
    path: Path,
    columns: tuple[str, ...],
    problems: list[str],
    *,
    optional: tuple[str, ...] = (),
    may_be_empty: bool = False,
    separators: tuple[str, ...] = SEPARATORS,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, row) of each line that is not blank, without white space around the cells.

    Problems of the file as a table are added to `problems`. See `read_table_file`.
    """
    table = read_table_file(path, columns, problems, optional=optional, separators=separators)
    if table is None:
        return
    if table.trimmed:
        _warn_once(f"{path}: ignored white space around {table.trimmed:,} cells of {columns[0]}")
    for row in table.rows:
        where = f"{path.name}, line {row.line}"
        problems += (f"{where}: {said}" for said in _name_problems(row.cells))
        yield where, row.cells
    if not table.rows and not may_be_empty:
        problems.append(f"{path.name} has no rows")


def _name_problems(cells: dict[str, str]) -> Iterator[str]:
    """Yield a problem for each name that holds a control character or is a formula."""
    for column in NAMES:
        name = cells.get(column, "")
        if (shown := escaped(name, keep="")) != name:
            yield f"{column} '{shown}' has a control character; remove it"
        elif is_formula(name):
            yield f"{column} {quoted(name)} is a formula for spreadsheets; rename it"


@lru_cache(maxsize=1000)
def _warn_once(text: str) -> None:
    """Log a warning once in a process, because many stages read the tables."""
    LOGGER.warning(text)


def _labels(text: str, where: str, label_count: int, problems: list[str]) -> tuple[int, ...]:
    if wrong := label_problems(text, label_count):
        problems += [f"{where}: {problem}" for problem in wrong]
        return ()
    return distinct_labels(text)
