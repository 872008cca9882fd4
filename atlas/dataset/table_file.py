"""Tables as people save them: CSV with commas, semicolons or tabs, in UTF-8 or UTF-16.

Spreadsheets choose separator, encoding and line ends by the language of the computer. A table is
read if its header leaves no doubt. Everything else is a problem that names the line. Problems are
collected, so that a user sees all of them at once.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from atlas.core.errors import DataError
from atlas.core.escaping import quoted
from atlas.core.text_files import decoded, line_of

COMMA, SEPARATORS = (",",), (",", ";", "\t")
ZIP_BEGINNING = b"PK\x03\x04"  # spreadsheets in their own formats are ZIP files

# Spreadsheets and statistics programs write a missing value as one of these words, in any case.
MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null", "-", "--"})


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row of a table.

    Attributes:
        line: The line at which the row starts, counted from 1.
        cells: The cells by the name of their column, without white space around them.
    """

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A table.

    Attributes:
        columns: The names of the columns. A column without a name is called "".
        rows: The rows that are not blank.
        trimmed: The number of cells of the first required column with white space around them.
    """

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    trimmed: int


def read_table_file(
    path: Path,
    columns: Sequence[str],
    problems: list[str],
    *,
    optional: Sequence[str] = (),
    separators: Sequence[str] = SEPARATORS,
) -> TableFile | None:
    """Read a table, or return None if it is not one.

    Args:
        path: The file.
        columns: The columns that the table must have. If there are none, the separator is that
            which gives the first line the most cells.
        problems: The list to which problems are added.
        optional: Other columns that have a meaning. A column whose name differs from one of them
            by case alone is a problem, because it would be ignored.
        separators: The separators that are accepted.
    """
    text = _text(path, columns, problems)
    if text is None:
        return None
    text = _without_separator_line(text)
    separator = _separator(text, columns, separators)
    try:
        records = list(_records(text, separator))
    except _BrokenRecordError as error:
        problems.append(f"{path.name}, line {error.line}: {error}; check the quotes of this row")
        return None
    if not records:
        problems.append(f"{path.name} is empty; it needs {_needed(columns)}")
        return None
    (line, names), *rest = records
    header = [name.strip() for name in names]
    if wrong := list(_header_problems(header, columns, optional)):
        problems += [f"{path.name}, line {line}: {problem}" for problem in wrong]
        return None
    names_once, rows = tuple(dict.fromkeys(header)), []
    for line, cells in rest:
        if said := _row_problem(cells, header):
            problems.append(f"{path.name}, line {line}: {said}")
        whole = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
        # The first of several columns without a name counts.
        by_name = dict(list(zip(header, whole, strict=False))[::-1])
        rows.append(TableRow(line=line, cells={name: by_name[name] for name in names_once}))
    return TableFile(
        columns=names_once,
        rows=tuple(rows),
        trimmed=_trimmed(header.index(columns[0]), rest) if columns else 0,
    )


def read_frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return a table of a user with all its columns and every cell as text.

    Raises:
        DataError: The file is not a table with these columns. All problems are listed.
    """
    problems: list[str] = []
    table = read_table_file(path, columns, problems)
    if problems or table is None:
        raise DataError(str(path.parent), problems)
    return pd.DataFrame([row.cells for row in table.rows], columns=list(table.columns), dtype=str)


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty or holds a word for a missing value.

    Example:
        >>> is_missing("NaN"), is_missing(" "), is_missing("nano")
        (True, True, False)
    """
    return cell.strip().lower() in MISSING


class _BrokenRecordError(ValueError):
    """The quotes of a record do not match, or a cell is too long."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _text(path: Path, columns: Sequence[str], problems: list[str]) -> str | None:
    try:
        encoded = path.read_bytes()
    except FileNotFoundError:
        problems.append(f"{path.name} is missing; it needs {_needed(columns)}")
        return None
    except OSError as error:
        problems.append(f"{path.name} cannot be read ({error.strerror})")
        return None
    if encoded.startswith(ZIP_BEGINNING):
        problems.append(f"{path.name} is a spreadsheet and not text; save it as CSV in UTF-8")
        return None
    try:
        text = decoded(encoded)
    except UnicodeDecodeError as error:
        problems.append(
            f"{path.name}, line {line_of(error)}: not UTF-8 text; save the table as CSV in UTF-8"
        )
        return None
    if "\0" in text:
        where = f"{path.name}, line {len(text[: text.index(chr(0)) + 1].splitlines())}"
        problems.append(f"{where}: the text has a NUL character; save the table as CSV in UTF-8")
        return None
    return text


def _needed(columns: Sequence[str]) -> str:
    return f"the columns {', '.join(columns)}" if columns else "a line with the names of columns"


def _without_separator_line(text: str) -> str:
    """Blank the line `sep=;` that some spreadsheets write first, and keep the numbers of lines."""
    first, end, rest = text.partition("\n")
    is_one = first.lower().startswith("sep=") and len(first.strip()) <= len("sep=;")
    return f"{end}{rest}" if is_one else text


def _separator(text: str, columns: Sequence[str], separators: Sequence[str]) -> str:
    """Return the first separator with which the header has all columns.

    If there is none, return the one that gives the most cells, for the message about the header.
    """
    headers = {separator: _first_record(text, separator) for separator in separators}
    fitting = [s for s, header in headers.items() if columns and {*columns} <= {*header}]
    return fitting[0] if fitting else max(headers, key=lambda s: len(headers[s]))


def _first_record(text: str, separator: str) -> list[str]:
    try:
        names = next(_records(text, separator), (1, list[str]()))[1]
        return [name.strip() for name in names]
    except _BrokenRecordError:
        return []


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise _BrokenRecordError(line, str(error)) from error
        if record is None:
            return
        if any(cell.strip() for cell in record):
            yield line, record
        line = reader.line_num + 1


def _header_problems(
    header: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> Iterator[str]:
    shown = ", ".join(map(quoted, header))
    if missing := [column for column in columns if column not in header]:
        yield f"no column {', '.join(missing)} in {shown}"
    for name, count in Counter(header).items():
        if name and count > 1:
            yield f"column {name} is given {count} times; keep one"
    meant = {name.lower(): name for name in optional}
    for name in header:
        if name not in optional and (right := meant.get(name.lower())):
            yield f"column {name} must be written {right}"


def _trimmed(column: int, records: Sequence[tuple[int, list[str]]]) -> int:
    cells = (cells[column] for _, cells in records if column < len(cells))
    return sum(cell != cell.strip() for cell in cells)


def _row_problem(cells: Sequence[str], header: Sequence[str]) -> str:
    """Return what is wrong with the number of cells. Empty cells at the end do not count."""
    if any(cell.strip() for cell in cells[len(header) :]):
        return "more cells than columns; separate labels by spaces"
    if len(cells) < len(header):
        return (
            f"{len(cells)} cells, but the header names {len(header)} columns; "
            "complete the row or remove it"
        )
    return ""
