"""Leak tables from other people: which test image is a copy of which image, and its labels."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from atlas.core.errors import UserError
from atlas.core.escaping import is_formula, quoted
from atlas.dataset.hpa import parse_hpa_id
from atlas.dataset.labels import distinct_labels, label_problems
from atlas.dataset.table_file import read_table_file
from index.settings import LeakColumns

YES, NO = ("1", "1.0", "yes", "true"), ("", "0", "0.0", "no", "false")
BETWEEN_LABELS = re.compile(r"[][(){},;|]")

Labels = frozenset[int]
Answer = frozenset[Labels]  # the label sets that one table has for one image


@dataclass(frozen=True, kw_only=True)
class LeakRow:
    """A candidate for a test image.

    Attributes:
        id: The test image.
        labels: The labels in the order of the table; empty if the row has none.
        match: The match as the table writes it; "" if the row names none.
        field: The match in a form that can be compared between tables.
        distances: The names and numbers of distances as they are written.
        doubted: Whether the author of the table doubts the row.
    """

    id: str
    labels: tuple[int, ...]
    match: str
    field: str
    distances: tuple[tuple[str, str], ...]
    doubted: bool


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of the columns of a table.

    Attributes:
        id: The column of test images.
        labels: The column of their labels.
        match: The column of matches, or None.
        doubt: The column that marks doubtful rows, or None.
        distances: The columns of distances.
        unread: The columns that are not used.
    """

    id: str
    labels: str
    match: str | None
    doubt: str | None
    distances: tuple[str, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LeakTable:
    """A leak table.

    Attributes:
        name: The name of the file without its suffix.
        columns: The columns that were used.
        rows: The rows whose ids are test images of the atlas.
        non_matches: The number of rows that were left out because their ids are not.
    """

    name: str
    columns: Columns
    rows: tuple[LeakRow, ...]
    non_matches: int

    @cached_property
    def by_id(self) -> dict[str, tuple[LeakRow, ...]]:
        """Return the rows of each id."""
        ordered = sorted(self.rows, key=lambda row: row.id)
        return {i: tuple(rows) for i, rows in groupby(ordered, key=lambda row: row.id)}

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """Return the label sets of each id that has any, several if candidates disagree."""
        found = {i: _answer(rows) for i, rows in self.by_id.items()}
        return {i: answer for i, answer in found.items() if answer}

    @cached_property
    def doubted(self) -> frozenset[str]:
        """Return the ids all of whose rows are doubted by the author of the table."""
        return frozenset(i for i, rows in self.by_id.items() if all(row.doubted for row in rows))


@dataclass(frozen=True, kw_only=True)
class LeakTableReader:
    """A reader for the tables of one audit. It raises a UserError for anything that it cannot read.

    Attributes:
        label_count: The number of labels of the atlas.
        test_ids: The test images of the atlas; if there are none, every id is accepted.
        hpa_ids: Whether matches are ids of HPA v18.
        names: The names that columns may have.
    """

    label_count: int
    test_ids: Collection[str] = ()
    hpa_ids: bool = True
    names: LeakColumns = LeakColumns()

    def read_all(self, paths: Sequence[Path]) -> tuple[LeakTable, ...]:
        """Read the tables, at least one, each with a different name."""
        if not paths:
            raise UserError("no table is given; name at least one, preferably three")
        stems = [path.stem for path in paths]
        if twice := [stem for stem in stems if stems.count(stem) > 1]:
            raise UserError(f"two tables are called {twice[0]}; rename one of the files")
        return tuple(map(self.read, paths))

    def read(self, path: Path) -> LeakTable:
        """Read one table."""
        header, lines = _read_lines(path)
        columns = _find_columns(path, header, self.names)
        rows = [self._row(f"{path.name}, line {line}", row, columns) for line, row in lines]
        known = tuple(row for row in rows if not self.test_ids or row.id in self.test_ids)
        if not known:
            raise UserError(f"{path}: the column {columns.id!r} contains no test image of the "
                            "atlas; give another --id-column, or check --data")  # fmt: skip
        if not any(row.labels for row in known):
            raise UserError(f"{path}: the column {columns.labels!r} is empty; give another "
                            "--label-column")  # fmt: skip
        non_matches = len(rows) - len(known)
        return LeakTable(name=path.stem, columns=columns, rows=known, non_matches=non_matches)

    def _row(self, where: str, row: dict[str, str], columns: Columns) -> LeakRow:
        if not row[columns.id]:
            raise UserError(
                f"{where}: the column {columns.id!r} is empty; add the id or remove the row"
            )
        labels = BETWEEN_LABELS.sub(" ", row[columns.labels])
        wrong = label_problems(labels, self.label_count, column=columns.labels)
        if labels.strip() and wrong:
            raise UserError(f"{where}: {wrong[0]}; fix it or remove the row")
        match = row[columns.match] if columns.match else ""
        for text in (row[columns.id], match):
            if is_formula(text):
                raise UserError(f"{where}: {quoted(text)} is a formula for spreadsheets; "
                                "write an id or remove the row")  # fmt: skip
        return LeakRow(
            id=row[columns.id],
            labels=distinct_labels(labels),
            match=match,
            field=field_of(match, hpa_ids=self.hpa_ids),
            distances=tuple((name, row[name]) for name in columns.distances if row[name]),
            doubted=_is_doubted(row[columns.doubt], where) if columns.doubt else False,
        )


def field_of(match: str, *, hpa_ids: bool) -> str:
    """Return the field that a match names, without its gene and antibody.

    `ENSG00000001497_44431_556_B9_1`, `44431_556_B9_1` and `556_B9_1` name the same field, because
    no two antibodies share a well: plate, well and field identify it.
    """
    named = parse_hpa_id(match) if hpa_ids else None
    return f"{named.specimen}_{named.field}" if named else match


def _find_columns(path: Path, header: Sequence[str], names: LeakColumns) -> Columns:
    """Return the first matching name of each kind of column, and all columns of distances."""

    def first(wanted: Sequence[str]) -> str | None:
        return next((name for name in wanted if name in header), None)

    def required(wanted: Sequence[str], option: str) -> str:
        found = first(wanted)
        if found is None:
            raise UserError(
                f"{path}: no column is called {' or '.join(map(repr, wanted))}; the columns are "
                f"{', '.join(map(repr, header))}; name the right one with {option}"
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
    raise UserError(f"{where}: the mark of a doubtful row is {cell!r}; write 1 or 0")


def _answer(rows: Sequence[LeakRow]) -> Answer:
    """Return the label sets of the rows; doubted rows count only if there are no others."""
    heard = [row for row in rows if not row.doubted] or rows
    return frozenset(frozenset(row.labels) for row in heard if row.labels)


def _read_lines(path: Path) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """Return the header and each row with its line number, see `read_table_file`."""
    problems: list[str] = []
    table = read_table_file(path, (), problems)
    if problems or table is None:
        raise UserError(f"{path}{problems[0].removeprefix(path.name)}")
    if not table.rows:
        raise UserError(f"{path}: there are no rows below the header; give another table")
    return table.columns, [(row.line, row.cells) for row in table.rows]
