"""Leak tables that people passed around: which test image is a copy of what, and its labels."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from atlas.errors import UserError
from atlas.hpa_v18 import parse_hpa_id
from atlas.leak_columns import Columns, find_columns, labels_in
from atlas.leak_sheet import Sheet, read_sheet

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
