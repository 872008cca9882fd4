"""The table of all that people said, verdicts.csv, which people write and programs export."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from atlas.core.escaping import is_formula
from atlas.core.files import write_bytes
from atlas.dataset.labels import format_labels
from atlas.dataset.table_file import read_table_file
from atlas.dataset.verdicts import WITHDRAWN, Choice, Correction, Verdict, Verdicts

VERDICTS_TABLE = "verdicts.csv"
OF_PAIRS = ("query_id", "match_id", "verdict")
OF_IMAGES = ("id", "labels")
OF_COPIES = ("id", "choice")
KEYS = ("query_key", "match_key", "key")
COLUMNS = (*OF_PAIRS, *OF_IMAGES, "choice", "reviewer", "time", "token", *KEYS)


@dataclass(frozen=True, kw_only=True)
class GivenRow:
    """A verdict, a correction or a choice as somebody wrote it.

    Attributes:
        where: The file and the line or task, for messages.
        cells: The texts by the name of their column. Columns that are not given are missing.
        known_as: The token of a verdict from which this one may have been made, or "".
    """

    where: str
    cells: Mapping[str, str]
    known_as: str = ""


def save_verdict_table(path: Path, said: Verdicts) -> None:
    """Write all rows of a file of verdicts: verdicts, then corrections, then choices."""
    written = io.StringIO()
    table = csv.DictWriter(written, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for row in said.rows:
        table.writerow({name: _harmless(cell) for name, cell in texts_of(row).items()})
    write_bytes(path, written.getvalue().encode())


def read_verdict_table(path: Path, problems: list[str]) -> Iterator[GivenRow]:
    """Yield the rows of a table of verdicts.

    Args:
        path: The table. It has the columns of verdicts, of corrections, of choices, or several.
        problems: The list to which problems are added.
    """
    table = read_table_file(path, (), problems, optional=COLUMNS)
    if table is None:
        return
    if not any(set(needed) <= set(table.columns) for needed in (OF_PAIRS, OF_IMAGES, OF_COPIES)):
        problems.append(
            f"{path.name}, line 1: the columns must be {', '.join(OF_PAIRS)} for verdicts, "
            f"{', '.join(OF_IMAGES)} for corrections of labels, or {', '.join(OF_COPIES)} for "
            "copies that stay"
        )
        return
    for row in table.rows:
        cells = {name: _as_said(row.cells[name]) for name in COLUMNS if name in row.cells}
        yield GivenRow(where=f"{path.name}, line {row.line}", cells=cells)


def texts_of(row: Verdict | Correction | Choice) -> dict[str, str]:
    """Return the cells of a row by the name of their column."""
    cells = asdict(row)
    if isinstance(row, Correction):
        cells["labels"] = WITHDRAWN if row.labels is None else format_labels(row.labels)
    return cells


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet runs as a formula; `_as_said` undoes it."""
    return f"'{cell}" if is_formula(cell.lstrip("'")) else cell


def _as_said(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and is_formula(cell.lstrip("'")) else cell
