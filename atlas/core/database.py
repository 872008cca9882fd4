"""SQLite files whose rows are on the disk when a function returns, whatever kills the process.

The journal of SQLite is the default one, which works on network file systems and leaves nothing
beside the file.
"""

import sqlite3
from collections.abc import Iterator
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
        statements: SQL that creates its tables, separated by ";" at the ends of lines.
        version: The number of this layout, which is at least 1 and differs between kinds of files.
        noun: What the file is called in messages, such as "a file of verdicts".
        when_damaged: What a user can do about a damaged file, as the end of a sentence.
    """

    statements: str
    version: int
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
            version = file.execute("PRAGMA user_version").fetchone()[0]
            application = file.execute("PRAGMA application_id").fetchone()[0]
            if application != APPLICATION_ID or version != layout.version:
                raise UserError(
                    f"{path} is not {layout.noun} of this version; give another run folder, "
                    "or move the file away"
                )
            yield file
    except sqlite3.Error as error:
        raise UserError(
            f"{path}: {error}; if the file is damaged, {layout.when_damaged}"
        ) from error


def _create(file: sqlite3.Connection, layout: Layout) -> None:
    file.execute("PRAGMA synchronous = EXTRA")  # also the folder is flushed
    if file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return
    with file:
        file.execute("BEGIN EXCLUSIVE")
        if not file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in filter(str.strip, layout.statements.split(";\n")):
                file.execute(statement)
            file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            file.execute(f"PRAGMA user_version = {layout.version}")
