"""Leak tables that people passed around: which test image is a copy of what, and its labels."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from atlas.core.errors import UserError
from atlas.dataset.hpa import parse_hpa_id
from atlas.dataset.labels import distinct_labels, label_problems
from index.settings import LeakColumns

YES, NO = ("1", "1.0", "yes", "true"), ("", "0", "0.0", "no", "false")
DELIMITERS = (",", ";", "\t")
BETWEEN_LABELS = re.compile(r"[][(){},;|]")

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
class Columns:
    """Names of columns. match, doubt: None where there is none; unread: what nothing is made of."""

    id: str
    labels: str
    match: str | None
    doubt: str | None
    distances: tuple[str, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LeakTable:
    """name: the file's without its ending. non-matches: rows left out, of ids that are no test image
    of the atlas."""

    name: str
    columns: Columns
    rows: tuple[LeakRow, ...]
    non_matches: int

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


@dataclass(frozen=True, kw_only=True)
class LeakTableReader:
    """Reads the tables of one audit. What cannot be read is refused by a UserError of one line.

    label_count: of the atlas. test_ids: of the atlas; none takes every id. hpa_ids: whether matches
    are ids of HPA v18. names: of the columns.
    """

    label_count: int
    test_ids: Collection[str] = ()
    hpa_ids: bool = True
    names: LeakColumns = LeakColumns()

    def read_all(self, paths: Sequence[Path]) -> tuple[LeakTable, ...]:
        """At least one table; each has a name of its own."""
        if not paths:
            raise UserError("no table is given; name at least one, better three")
        stems = [path.stem for path in paths]
        if twice := [stem for stem in stems if stems.count(stem) > 1]:
            raise UserError(f"two tables are called {twice[0]}; give a copy of one by another name")
        return tuple(map(self.read, paths))

    def read(self, path: Path) -> LeakTable:
        header, lines = _read_lines(path)
        columns = _find_columns(path, header, self.names)
        rows = [self._row(f"{path.name} line {line}", row, columns) for line, row in lines]
        known = tuple(row for row in rows if not self.test_ids or row.id in self.test_ids)
        if not known:
            raise UserError(f"{path}: the column {columns.id!r} holds no id of a test image of the "
                            "atlas; give another --id-column, or check --data")  # fmt: skip
        if not any(row.labels for row in known):
            raise UserError(f"{path}: the column {columns.labels!r} is empty; give another "
                            "--label-column")  # fmt: skip
        non_matches = len(rows) - len(known)
        return LeakTable(name=path.stem, columns=columns, rows=known, non_matches=non_matches)

    def _row(self, where: str, row: dict[str, str], columns: Columns) -> LeakRow:
        if not row[columns.id]:
            raise UserError(f"{where}: no test id in {columns.id!r}; fill it in or drop the row")
        labels = BETWEEN_LABELS.sub(" ", row[columns.labels])
        wrong = label_problems(labels, self.label_count, column=columns.labels)
        if labels.strip() and wrong:
            raise UserError(f"{where}: {wrong[0]}; fix it or drop the row")
        match = row[columns.match] if columns.match else ""
        return LeakRow(
            id=row[columns.id],
            labels=distinct_labels(labels),
            match=match,
            field=field_of(match, hpa_ids=self.hpa_ids),
            distances=tuple((name, row[name]) for name in columns.distances if row[name]),
            doubted=_is_doubted(row[columns.doubt], where) if columns.doubt else False,
        )


def field_of(match: str, *, hpa_ids: bool) -> str:
    """`ENSG00000001497_44431_556_B9_1`, `44431_556_B9_1` and `556_B9_1` are one field.

    No two antibodies share a well, so the plate, the well and the field say which it is.
    """
    named = parse_hpa_id(match) if hpa_ids else None
    return f"{named.specimen}_{named.field}" if named else match


def _find_columns(path: Path, header: Sequence[str], names: LeakColumns) -> Columns:
    """Of each kind the first of its names that the table has; of distances all."""

    def first(wanted: Sequence[str]) -> str | None:
        return next((name for name in wanted if name in header), None)

    def required(wanted: Sequence[str], option: str) -> str:
        found = first(wanted)
        if found is None:
            raise UserError(
                f"{path}: no column is called {' or '.join(map(repr, wanted))}; it has "
                f"{', '.join(map(repr, header))}; name the right one by {option}"
            )
        return found

    image = required(names.id_column, "--id-column")
    labels = required(names.label_column, "--label-column")
    match, doubt = first(names.match_column), first(names.doubt_column)
    distances = tuple(name for name in header if name in names.distance_column)
    read = (image, labels, match, doubt, *distances)
    unread = tuple(name for name in header if name not in read)
    return Columns(
        id=image, labels=labels, match=match, doubt=doubt, distances=distances, unread=unread
    )


def _is_doubted(cell: str, where: str) -> bool:
    if cell.lower() in YES:
        return True
    if cell.lower() in NO:
        return False
    raise UserError(f"{where}: questionable reads {cell!r}; write 1 or 0")


def _answer(rows: Sequence[LeakRow]) -> Answer:
    """Rows that their author doubts are heard only where there are no others."""
    heard = [row for row in rows if not row.doubted] or rows
    return frozenset(frozenset(row.labels) for row in heard if row.labels)


def _read_lines(path: Path) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """The header, and each row with the number of its line.

    Fields are separated by commas, semicolons or tabs. Blank lines are passed over, and white space
    around fields.
    """
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
        raise UserError(f"{path} line {reader.line_num}: {error}; fix the quotes there") from error
    if len(found) < 2:
        raise UserError(f"{path} has no rows below a header; give another table")
    header, rows = found[0][1], found[1:]
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise UserError(f"{path} line 1: several columns are called {twice[0]!r}; rename them")
    for line, cells in rows:
        if len(cells) != len(header):
            raise UserError(
                f"{path} line {line}: {len(cells)} fields below a header of {len(header)}; "
                "put quotes around fields that hold the separator"
            )
    return header, [(line, dict(zip(header, cells, strict=True))) for line, cells in rows]


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
