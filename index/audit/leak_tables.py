"""Leak tables that people passed around: which test image is a copy of what, and its labels."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from atlas.core.errors import UserError
from atlas.dataset.hpa import parse_hpa_id
from atlas.dataset.labels import parse_labels

YES, NO = ("1", "1.0", "yes", "true"), ("", "0", "0.0", "no", "false")

Labels = frozenset[int]
Answer = frozenset[Labels]  # the label sets that one table holds for one image


@dataclass(frozen=True, kw_only=True)
class LeakRow:
    """One candidate for one test image.

    labels: in the order of the table; empty where the row has none. match: as the table writes it,
    "" where it names none. field: the match without what tables put around it, comparable between
    tables. distances: name and number as written. doubted: by the table's own author.
    """

    id: str
    labels: tuple[int, ...]
    match: str
    field: str
    distances: tuple[tuple[str, str], ...]
    doubted: bool


@dataclass(frozen=True, kw_only=True)
class LeakTable:
    """name: the file's without its ending. strangers: rows left out, of ids that are no test image
    of the atlas."""

    name: str
    columns: Columns
    rows: tuple[LeakRow, ...]
    strangers: int

    @cached_property
    def by_id(self) -> dict[str, tuple[LeakRow, ...]]:
        ordered = sorted(self.rows, key=lambda row: row.id)
        return {i: tuple(rows) for i, rows in groupby(ordered, key=lambda row: row.id)}

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """Label sets by id, of the ids that have any; several where candidates disagree."""
        found = {i: _answer(rows) for i, rows in self.by_id.items()}
        return {i: answer for i, answer in found.items() if answer}

    @cached_property
    def doubted(self) -> frozenset[str]:
        """Ids all of whose rows the table's author doubts."""
        return frozenset(i for i, rows in self.by_id.items() if all(row.doubted for row in rows))


def read_leak_tables(
    paths: Sequence[Path], *, label_count: int, test_ids: Collection[str], hpa_ids: bool
) -> tuple[LeakTable, ...]:
    """test_ids: of the atlas; none takes every id. hpa_ids: whether matches are ids of HPA v18.

    Raises UserError, one line, for what cannot be read and for two tables of one name.
    """
    if not paths:
        raise UserError("no table is given; name at least one, better three")
    stems = [path.stem for path in paths]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise UserError(f"two tables are called {twice[0]}; give a copy of one by another name")
    return tuple(
        read_leak_table(path, label_count=label_count, test_ids=test_ids, hpa_ids=hpa_ids)
        for path in paths
    )


def read_leak_table(
    path: Path, *, label_count: int, test_ids: Collection[str], hpa_ids: bool
) -> LeakTable:
    """As `read_leak_tables`, one of them."""
    sheet = read_sheet(path)
    columns = find_columns(sheet, label_count=label_count, test_ids=test_ids)
    rows = tuple(_rows(sheet, columns, label_count, hpa_ids=hpa_ids))
    known = tuple(row for row in rows if not test_ids or row.id in test_ids)
    if not any(row.labels for row in known):
        raise UserError(f"{path}: the column {columns.labels!r} is empty; call that of the labels "
                        "Target")  # fmt: skip
    return LeakTable(name=path.stem, columns=columns, rows=known, strangers=len(rows) - len(known))


def field_of(match: str, *, hpa_ids: bool) -> str:
    """`ENSG00000001497_44431_556_B9_1`, `44431_556_B9_1` and `556_B9_1` are one field.

    No two antibodies share a well, so the plate, the well and the field say which it is.
    """
    named = parse_hpa_id(match) if hpa_ids else None
    return f"{named.specimen}_{named.field}" if named else match


def _rows(sheet: Sheet, columns: Columns, label_count: int, *, hpa_ids: bool) -> Iterator[LeakRow]:
    for line, cells in zip(sheet.lines, sheet.rows, strict=True):
        row, where = dict(zip(sheet.header, cells, strict=True)), f"{sheet.name} line {line}"
        if not row[columns.id]:
            raise UserError(f"{where}: no test id in {columns.id!r}; fill it in or drop the row")
        labels = labels_in(row[columns.labels], label_count)
        if labels is None:
            raise UserError(f"{where}: {columns.labels} {row[columns.labels]!r} is not labels of "
                            f"0..{label_count - 1}; mend it or drop the row")  # fmt: skip
        match = row[columns.match] if columns.match else ""
        yield LeakRow(
            id=row[columns.id],
            labels=tuple(dict.fromkeys(labels)),
            match=match,
            field=field_of(match, hpa_ids=hpa_ids),
            distances=tuple((name, row[name]) for name in columns.distances if row[name]),
            doubted=_is_doubted(row[columns.doubt], where) if columns.doubt else False,
        )


def _answer(rows: Sequence[LeakRow]) -> Answer:
    """Rows that their author doubts are heard only where there are no others."""
    heard = [row for row in rows if not row.doubted] or rows
    return frozenset(frozenset(row.labels) for row in heard if row.labels)


def _is_doubted(cell: str, where: str) -> bool:
    if cell.lower() in YES:
        return True
    if cell.lower() in NO:
        return False
    raise UserError(f"{where}: questionable reads {cell!r}; write 1 or 0")


# The cells of a table that somebody else wrote: with commas, semicolons or tabs.
#
# Each refusal is one line: where, what, and the next step.


DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """name: the file's, for messages. lines: of the file, one for each row of cells."""

    name: str
    header: tuple[str, ...]
    lines: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...]

    def cells(self, column: str) -> tuple[str, ...]:
        at = self.header.index(column)
        return tuple(row[at] for row in self.rows)

    def holds(self, column: str) -> tuple[str, ...]:
        """The cells that are not empty."""
        return tuple(cell for cell in self.cells(column) if cell)


def read_sheet(path: Path) -> Sheet:
    """Blank lines are passed over, and white space around fields. Raises UserError."""
    text = _text(path)
    head = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=head.count), strict=True
    )
    found: list[tuple[int, tuple[str, ...]]] = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                found.append((reader.line_num, tuple(cell.strip() for cell in row)))
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: {error}; mend the quotes there") from error
    if len(found) < 2:
        raise UserError(f"{path} has no rows below a header; give another table")
    (_, header), *rows = found
    _check(path, header, rows)
    lines, cells = zip(*rows, strict=True)
    return Sheet(name=path.name, header=header, lines=lines, rows=cells)


def _text(path: Path) -> str:
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the path of a leak table") from error
    try:
        return encoded.decode("utf-8-sig")  # spreadsheets put a byte-order mark in front
    except UnicodeDecodeError as error:
        line = encoded[: error.start].count(b"\n") + 1
        raise UserError(f"{path} line {line}: not UTF-8 text; save the table as UTF-8") from error


def _check(path: Path, header: tuple[str, ...], rows: Sequence[tuple[int, Sequence[str]]]) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise UserError(f"{path} line 1: several columns are called {twice[0]!r}; rename them")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(
                f"{path} line {line}: {len(row)} fields below a header of {len(header)}; "
                "put quotes around fields that hold the separator"
            )


# Which column of a leak table is what: known by its name, else by what it holds.
#
# Its authors called the test image `Id`, `Test` or nothing at all, and the labels `Target` or
# `Site Parsed Labels`; a distance of hashes reads like a label, so content alone decides nothing
# that a name says.


# In lower case, the surest first.
ID_NAMES = ("id", "test", "test_id", "testid", "image_id", "imageid", "image", "query_id")
LABEL_NAMES = ("target", "labels", "label", "predicted")
LABEL_WORDS = ("label", "target")
MATCH_NAMES = ("candidate", "extra", "match", "match_id", "external", "source")
DOUBT_WORD = "questionable"

_BETWEEN_LABELS = re.compile(r"[][(){},;|]")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns. match, doubt: None where there is none; unread: what nothing is made of."""

    id: str
    labels: str
    match: str | None
    doubt: str | None
    distances: tuple[str, ...]
    unread: tuple[str, ...]


def find_columns(sheet: Sheet, *, label_count: int, test_ids: Collection[str]) -> Columns:
    """test_ids: of the atlas, or none where it is not known. Raises UserError."""
    labels = _labels_column(sheet, label_count)
    left = [name for name in sheet.header if name != labels]
    image = _id_column(sheet, left, test_ids)
    left.remove(image)
    match = _match_column(sheet, left)
    doubt = next((name for name in left if DOUBT_WORD in name.lower()), None)
    left = [name for name in left if name not in (match, doubt)]
    distances = tuple(name for name in left if _is_distance(sheet, name))
    unread = tuple(name for name in left if name not in distances)
    return Columns(
        id=image, labels=labels, match=match, doubt=doubt, distances=distances, unread=unread
    )


def labels_in(text: str, label_count: int) -> tuple[int, ...] | None:
    """Numbers with spaces, commas or the like between them; None where the text is no labels."""
    try:
        labels = parse_labels(_BETWEEN_LABELS.sub(" ", text))
    except ValueError:
        return None
    return labels if all(0 <= label < label_count for label in labels) else None


def _labels_column(sheet: Sheet, label_count: int) -> str:
    if named := _named(sheet.header, LABEL_NAMES):
        return named
    worded = [n for n in sheet.header if any(word in n.lower() for word in LABEL_WORDS)]
    if found := worded or [n for n in sheet.header if _holds_labels(sheet, n, label_count)]:
        if len(found) > 1:
            raise UserError(f"{sheet.name} line 1: {_listed(found)} could all be the labels; "
                            "call the one that counts Target")  # fmt: skip
        return found[0]
    raise UserError(f"{sheet.name} line 1: none of the columns {_listed(sheet.header)} holds "
                    "labels; call that column Target")  # fmt: skip


def _holds_labels(sheet: Sheet, name: str, label_count: int) -> bool:
    """Numbers in range all over, and several of them somewhere, as no distance has."""
    found = [labels_in(cell, label_count) for cell in sheet.holds(name)]
    return all(some is not None for some in found) and any(some and some[1:] for some in found)


def _id_column(sheet: Sheet, left: Sequence[str], test_ids: Collection[str]) -> str:
    """Of the atlas's test images, else by name, else the only column of ids that are no matches."""
    if test_ids:
        known = {name: sum(c in test_ids for c in sheet.cells(name)) for name in left}
        if any(known.values()):
            return max(left, key=known.__getitem__)
    elif named := _named(left, ID_NAMES):
        return named
    elif len(found := [n for n in left if n.lower() not in MATCH_NAMES and _is_id(sheet, n)]) == 1:
        return found[0]
    what = "ids of the atlas's test images" if test_ids else "the test ids for sure"
    raise UserError(f"{sheet.name} line 1: none of the columns {_listed(left)} holds {what}; "
                    "call that column Id, and check --data")  # fmt: skip


def _is_id(sheet: Sheet, name: str) -> bool:
    cells = sheet.cells(name)
    return all(cell and not _is_number(cell) and not parse_hpa_id(cell) for cell in cells)


def _match_column(sheet: Sheet, left: Sequence[str]) -> str | None:
    if named := _named(left, MATCH_NAMES):
        return named
    return next((n for n in left if _all(sheet, n, lambda c: parse_hpa_id(c) is not None)), None)


def _is_distance(sheet: Sheet, name: str) -> bool:
    """Numbers with a name: numbers without are those of the rows."""
    if not name or any(word in name.lower() for word in LABEL_WORDS):
        return False
    return _all(sheet, name, _is_number)


def _all(sheet: Sheet, name: str, test: Callable[[str], bool]) -> bool:
    cells = sheet.holds(name)
    return bool(cells) and all(map(test, cells))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", cell.lower()) is not None


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    spelled = {column.lower(): column for column in columns}
    return next((spelled[name] for name in names if name in spelled), None)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns))
