"""The tables of a data folder: rows that say where they stand, and what is wrong with them.

Nothing is raised here: problems gather, so that a user hears of all of them at once.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlas.labels import parse_labels

Split = Literal["train", "external", "test"]

# Where the rows of each split stand.
TABLES: dict[Split, str] = {
    "train": "train.csv",
    "external": "external.csv",
    "test": "sample_submission.csv",
}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A table's row before its files are known. where: table and line, for messages."""

    where: str
    id: str
    split: Split
    labels: tuple[int, ...] | None = None
    identity: str | None = None


def hpa_v18_identity(image_id: str) -> str | None:
    """The antibody of an HPA v18 id `antibody_plate_well_field[_cr...]`; None for other ids.

    1,406 of the 74,606 ids of v18 carry the fifth part; all agree on 12,815 antibodies.
    """
    parts = image_id.split("_")
    is_v18 = len(parts) == 4 or (len(parts) == 5 and parts[4].startswith("cr"))
    return parts[0] if is_v18 and parts[0].isdecimal() and parts[3].isdecimal() else None


def read_labelled(
    path: Path, split: Split, label_count: int, problems: list[str]
) -> Iterator[Draft]:
    """The rows of a table with Id, Target and perhaps Identity."""
    for where, row in _rows(path, ("Id", "Target"), problems):
        yield Draft(
            where=where,
            id=row["Id"],
            split=split,
            labels=_labels(row["Target"], where, label_count, problems),
            identity=row.get("Identity") or hpa_v18_identity(row["Id"]),
        )


def read_test(path: Path, problems: list[str]) -> Iterator[Draft]:
    """The rows of sample_submission.csv; none where there is no such table."""
    if path.exists():
        for where, row in _rows(path, ("Id",), problems):
            yield Draft(where=where, id=row["Id"], split="test")


def id_problems(drafts: Sequence[Draft]) -> Iterator[str]:
    """Ids that are empty, cannot name a file, or occur twice, within a table or across them."""
    seen: dict[str, str] = {}
    for draft in drafts:
        if not draft.id:
            yield f"{draft.where}: no Id"
        elif not names_a_file(draft.id):
            yield (
                f"{draft.where}: id {draft.id!r} cannot be part of a file's name "
                "(a path separator or an unprintable character)"
            )
        elif draft.id in seen:
            yield f"{draft.where}: id {draft.id} stands already in {seen[draft.id]}; keep one"
        else:
            seen[draft.id] = draft.where


def names_a_file(image_id: str) -> bool:
    """Whether an id may stand in a file's name: it never leads out of its folder."""
    return bool(image_id) and image_id.isprintable() and not set(image_id) & {"/", "\\"}


def _rows(
    path: Path, columns: tuple[str, ...], problems: list[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, row) of each line that is not blank; fields without the white space around them."""
    text = _text(path, columns, problems)
    if text is None:
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    count = 0
    try:
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            header = ", ".join(repr(name) for name in reader.fieldnames or ()) or "nothing"
            problems.append(f"{path.name} line 1: no column {', '.join(missing)} in {header}")
            return
        for count, row in enumerate(reader, start=1):  # noqa: B007
            where = f"{path.name} line {reader.line_num}"
            if row.pop(None, None):
                problems.append(f"{where}: more fields than columns; labels are joined by spaces")
            yield where, {name: (value or "").strip() for name, value in row.items()}
    except csv.Error as error:
        problems.append(f"{path.name} line {reader.line_num}: {error}")
        return
    if not count:
        problems.append(f"{path.name} has no rows")


def _text(path: Path, columns: tuple[str, ...], problems: list[str]) -> str | None:
    try:
        encoded = path.read_bytes()
    except OSError:
        problems.append(f"{path.name} is missing; it needs the columns {', '.join(columns)}")
        return None
    try:
        return encoded.decode("utf-8-sig")  # spreadsheets put a byte-order mark in front
    except UnicodeDecodeError as error:
        line = encoded[: error.start].count(b"\n") + 1
        problems.append(f"{path.name} line {line}: not UTF-8 text; save the table as UTF-8")
        return None


def _labels(text: str, where: str, label_count: int, problems: list[str]) -> tuple[int, ...]:
    try:
        labels = parse_labels(text)
    except ValueError:
        problems.append(f"{where}: Target {text!r} is not numbers joined by spaces")
        return ()
    if not labels:
        problems.append(f"{where}: no label; a labelled image has at least one")
    for label in labels:
        if not 0 <= label < label_count:
            problems.append(f"{where}: label {label} is not one of 0..{label_count - 1}")
    return tuple(dict.fromkeys(labels))  # written twice means the same as once
