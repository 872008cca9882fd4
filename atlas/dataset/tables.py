"""The tables of a data folder: their rows, the lines of the rows, and their problems.

Nothing is raised here. Problems are collected, so that a user sees all of them at once.
"""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlas.dataset.hpa import parse_hpa_id
from atlas.dataset.labels import distinct_labels, label_problems

Split = Literal["train", "external", "test"]

# The table of each split.
TABLES: dict[Split, str] = {
    "train": "train.csv",
    "external": "external.csv",
    "test": "sample_submission.csv",
}
GROUPS_TABLE = "groups.csv"


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
    for where, row in table_rows(
        path, ("Id", "Target"), problems, may_be_empty=split == "external"
    ):
        named = parse_hpa_id(row["Id"]) if hpa_ids else None
        identity = row.get("Identity", named.antibody if named else None)
        yield Draft(
            where=where,
            id=row["Id"],
            split=split,
            labels=()
            if may_lack_labels and not row["Target"]
            else _labels(row["Target"], where, label_count, problems),
            identity=identity or None,
            group=named.specimen if named and not identity else None,
            parent=row.get("Parent") or None,
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
    rows = table_rows(path, ("Id", "Group"), problems, may_be_empty=True) if path.exists() else ()
    for where, row in rows:
        image_id = row["Id"]
        if image_id not in known_ids:
            problems.append(f"{where}: id {image_id!r} is in no other table; remove the row")
        elif image_id in seen:
            problems.append(f"{where}: id {image_id} is already in {seen[image_id]}; keep one")
        elif not row["Group"]:
            problems.append(f"{where}: Group is empty; fill it in or remove the row")
        else:
            seen[image_id], groups[image_id] = where, row["Group"]
    return groups


def id_problems(drafts: Sequence[Draft], names: Callable[[str], bool]) -> Iterator[str]:
    """Yield a problem for each id that is empty, cannot name a file, or occurs twice.

    Ids must differ within a table and across tables.

    Args:
        drafts: The rows of all tables.
        names: A function that returns whether an id can be part of file names.
    """
    seen: dict[str, str] = {}
    for draft in drafts:
        if not draft.id:
            yield f"{draft.where}: Id is empty"
        elif not names(draft.id):
            yield (
                f"{draft.where}: id {draft.id!r} cannot be part of a file name (it has a path "
                "separator or an unprintable character), or is not the path of a picture"
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
                f"{draft.where}: Parent {draft.parent!r} is not a labelled image; "
                "add it, or remove this row"
            )


def table_rows(
    path: Path, columns: tuple[str, ...], problems: list[str], *, may_be_empty: bool = False
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, row) of each line that is not blank, without white space around the cells.

    Problems of the file as a table are added to `problems`.
    """
    text = _text(path, columns, problems)
    if text is None:
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    count = 0
    try:
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            header = ", ".join(repr(name) for name in reader.fieldnames or ()) or "nothing"
            problems.append(f"{path.name}, line 1: no column {', '.join(missing)} in {header}")
            return
        for count, row in enumerate(reader, start=1):  # noqa: B007
            where = f"{path.name}, line {reader.line_num}"
            if row.pop(None, None):
                problems.append(f"{where}: more cells than columns; separate labels by spaces")
            yield where, {name: (value or "").strip() for name, value in row.items()}
    except csv.Error as error:
        problems.append(f"{path.name}, line {reader.line_num}: {error}")
        return
    if not count and not may_be_empty:
        problems.append(f"{path.name} has no rows")


def _text(path: Path, columns: tuple[str, ...], problems: list[str]) -> str | None:
    try:
        encoded = path.read_bytes()
    except OSError:
        problems.append(f"{path.name} is missing; it needs the columns {', '.join(columns)}")
        return None
    try:
        return encoded.decode("utf-8-sig")  # spreadsheets write a byte-order mark at the start
    except UnicodeDecodeError as error:
        line = encoded[: error.start].count(b"\n") + 1
        problems.append(f"{path.name}, line {line}: not UTF-8 text; save the table as UTF-8")
        return None


def _labels(text: str, where: str, label_count: int, problems: list[str]) -> tuple[int, ...]:
    if wrong := label_problems(text, label_count):
        problems += [f"{where}: {problem}" for problem in wrong]
        return ()
    return distinct_labels(text)
