"""The list of the files of a result folder, `contents.json`.

It says which command wrote the folder, so that a later run replaces only what the same command
wrote; and it holds a checksum of each file, so that a file that was damaged or edited is noticed
when it is read.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from atlas.core.checksums import checksum, file_checksum
from atlas.core.row_file import DamagedFileError, is_row_file, open_row_file
from atlas.core.sealed_json import read_sealed_json, write_sealed_json

CONTENTS_FILE = "contents.json"
# Programs that show folders leave these files, which hold nothing of the user's.
UNIMPORTANT = frozenset({CONTENTS_FILE, ".DS_Store", "Thumbs.db", "desktop.ini"})
RECORDS = frozenset({"logs", "checkpoints"})  # folders of trainings
LEVELS = 4  # how many folders above a file are searched for the list that names it


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What `contents.json` says about a file.

    Attributes:
        checksum: The checksum of the file; of a row file, that of its header.
        bytes: The size of the file.
        lines: The number of lines of a table, or None for other files.
    """

    checksum: str
    bytes: int
    lines: int | None = None


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The list of the files of a result folder.

    Attributes:
        written_by: The name of the command, such as `build_index`.
        files: What is known about each file, by its relative path with slashes.
    """

    written_by: str
    files: dict[str, Entry]


def write_contents(folder: Path, written_by: str, *, records: bool = True) -> None:
    """Write the list of all files in a folder, with their checksums.

    Args:
        folder: The folder.
        written_by: The name of the command.
        records: Whether the records of trainings are listed, too.
    """
    names = [n for n in sorted(files_in(folder)) if records or RECORDS.isdisjoint(n.split("/"))]
    files = {name: _entry(folder / name) for name in names}
    save_contents(folder, Contents(written_by=written_by, files=files))


def save_contents(folder: Path, contents: Contents) -> None:
    """Write the list of the files of a folder."""
    write_sealed_json(folder / CONTENTS_FILE, asdict(contents))


def update_contents(path: Path) -> None:
    """Record a file that was written later in the nearest list of contents above it, if any."""
    _change_entry(path, listed=True)


@contextmanager
def listed_after(path: Path) -> Iterator[None]:
    """Record a file of a finished folder in its list after the block has replaced the file.

    During the block, the list does not name the file. If the process is killed between the two
    steps, the file is therefore not taken for a damaged one, and the next run replaces it again.
    """
    _change_entry(path, listed=False)
    yield
    update_contents(path)


def _change_entry(path: Path, *, listed: bool) -> None:
    if folder := folder_with_list(path):
        contents = read_contents(folder)
        name = path.absolute().relative_to(folder).as_posix()
        files = {other: known for other, known in contents.files.items() if other != name}
        if listed:
            files[name] = _entry(path)
        if files != contents.files:
            save_contents(folder, Contents(written_by=contents.written_by, files=files))


def read_contents(folder: Path) -> Contents:
    """Return the list of the files of a folder.

    Raises:
        DamagedFileError: The list is damaged.
        OSError: There is no list.
    """
    stored = read_sealed_json(folder / CONTENTS_FILE)
    files = {name: Entry(**entry) for name, entry in stored["files"].items()}
    return Contents(written_by=stored["written_by"], files=files)


def contents_of(folder: Path, *, remedy: str) -> Contents | None:
    """Return the list of a folder, or None if it has none. Errors say how to get a new list."""
    try:
        return read_contents(folder)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        raise DamagedFileError(error.path, f"{error.how}; {remedy}") from error


def listed_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that a command has written into a folder, or none if it has no list."""
    contents = contents_of(folder, remedy="write the folder again")
    return tuple(folder / name for name in contents.files) if contents else ()


def files_in(folder: Path) -> Iterator[str]:
    """Yield the relative paths of all files in a folder, and of links."""
    for above, _, names in os.walk(folder):
        for name in names:
            if name not in UNIMPORTANT or (name == CONTENTS_FILE and Path(above) != folder):
                yield PurePosixPath(os.path.relpath(os.path.join(above, name), folder)).as_posix()


def checksum_of(path: Path) -> str:
    """Return the checksum of a file; a row file compares its rows itself when they are read."""
    return open_row_file(path).checksum if is_row_file(path) else file_checksum(path)


def folder_with_list(path: Path) -> Path | None:
    """Return the nearest folder above a file that has a list of its files, or None."""
    folders = path.absolute().parents[:LEVELS]
    return next((folder for folder in folders if (folder / CONTENTS_FILE).exists()), None)


def _entry(path: Path) -> Entry:
    if path.suffix != ".csv":
        return Entry(checksum=checksum_of(path), bytes=path.stat().st_size)
    content = path.read_bytes()
    return Entry(checksum=checksum(content), bytes=len(content), lines=content.count(b"\n"))
