"""SQLite files whose rows are on the disk when a function returns, whatever kills the process.

The journal of SQLite is the default one, which works on network file systems and leaves nothing
beside the file.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import UserError

APPLICATION_ID = 0x41544C53  # "ATLS" in the header of the file
WAITS_S = 30.0  # for other processes that write


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a database of the project holds.

    Attributes:
        steps: SQL that creates its tables, separated by ";" at the ends of lines, by the number of
            the layout that it leads to, in ascending order. Files of an earlier layout are read,
            and get the later steps when something is written. Numbers differ between kinds of
            files.
        noun: What the file is called in messages, such as "a file of verdicts".
        when_damaged: What a user can do about a damaged file, as the end of a sentence.
    """

    steps: Mapping[int, str]
    noun: str
    when_damaged: str


@contextmanager
def opened_database(
    path: Path, layout: Layout, *, create: bool = False
) -> Iterator[sqlite3.Connection]:
    """Yield a connection, which commits each statement unless a transaction was begun.

    Args:
        path: The file.
        layout: What it must hold.
        create: Whether it is created if it does not exist, and whether rows may be written.

    Raises:
        UserError: The file is damaged, cannot be written, or holds something else.
    """
    how = "rwc" if create else "rw"  # reading finishes what a killed process has begun
    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode={how}", uri=True, timeout=WAITS_S,
                            isolation_level=None)
        ) as file:  # fmt: skip
            if create:
                _create(file, layout)
            if layout_number(file) not in layout.steps:
                raise UserError(
                    f"{path} is not {layout.noun} of this version; give another run folder, "
                    "or move the file away"
                )
            yield file
    except sqlite3.Error as error:
        raise UserError(
            f"{path}: {error}; if the file is damaged, {layout.when_damaged}"
        ) from error


def layout_number(file: sqlite3.Connection) -> int:
    """Return the number of the layout of a file, or -1 if another program wrote it."""
    application, number = (
        int(file.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("application_id", "user_version")
    )
    return number if application == APPLICATION_ID else -1


def _create(file: sqlite3.Connection, layout: Layout) -> None:
    file.execute("PRAGMA synchronous = EXTRA")  # also the folder is flushed
    if not _lacking(file, layout):
        return
    with file:
        file.execute("BEGIN EXCLUSIVE")
        for number in _lacking(file, layout):  # another process may have taken them in the meantime
            for statement in filter(str.strip, layout.steps[number].split(";\n")):
                file.execute(statement)
            file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            file.execute(f"PRAGMA user_version = {number}")


def _lacking(file: sqlite3.Connection, layout: Layout) -> list[int]:
    """Return the steps that a file lacks; none if something else or a later version wrote it."""
    if not file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return list(layout.steps)
    present = layout_number(file)
    if present not in layout.steps:
        return []
    return [number for number in layout.steps if number > present]
