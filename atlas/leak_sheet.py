"""The cells of a table that somebody else wrote: with commas, semicolons or tabs.

Each refusal is one line: where, what, and the next step.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.errors import UserError

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
