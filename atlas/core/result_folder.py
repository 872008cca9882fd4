"""Result folders: what a command writes as a whole, with a list of its files and their checksums.

The list is the file `contents.json`. It says which command wrote the folder, so that a later run
replaces only what the same command wrote; and it holds a checksum of each file, so that a file that
was damaged or edited is noticed when it is read.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from atlas.core.checksums import checksum, file_checksum
from atlas.core.errors import MissingStageError, Stage, UserError, command_line
from atlas.core.files import (
    being_filled,
    json_text,
    put_in_place,
    restore,
    sweep,
    sweep_folder,
    temporary_folder,
    temporary_paths,
    write_json,
)
from atlas.core.row_file import DamagedFileError, is_row_file, open_row_file

Read = TypeVar("Read")

CONTENTS_FILE = "contents.json"
CHECKSUM = "checksum"  # the key of the checksum in a JSON object
# Programs that show folders leave these files, which hold nothing of the user's.
UNIMPORTANT = frozenset({CONTENTS_FILE, ".DS_Store", "Thumbs.db", "desktop.ini"})
NOT_UNDERSTOOD = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
RECORDS = frozenset({"logs", "checkpoints"})  # folders of trainings
LEVELS = 4  # how many folders above a file are searched for the list that names it
READS = 20  # how often a folder is read again that is being replaced


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


def check_replaceable(folder: Path, written_by: str) -> None:
    """Check that a command may replace `folder`, before long work starts.

    A folder may be replaced if it does not exist, is empty, or holds nothing but files that the
    same command has written. What killed runs have left beside the folder is removed.

    Args:
        folder: The folder that the command will write.
        written_by: The name of the command.

    Raises:
        UserError: The folder holds something else.
    """
    folder = folder.resolve()
    restore(folder)
    sweep(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another name with --out")
    there = sorted(_files_in(folder))
    if not there and not (folder / CONTENTS_FILE).exists():
        return
    verb = written_by.replace("_", "-")
    other = f"choose another folder with --out, or remove {folder}"
    contents = _contents_of(folder, remedy=f"remove {folder} and run the same command again")
    if contents is None or contents.written_by != written_by:
        by = f"was written by {contents.written_by.replace('_', '-')}" if contents else (
            f"holds {there[0]}" if there else "holds other files"
        )  # fmt: skip
        raise UserError(f"{folder} exists and was not written by {verb} (it {by}); {other}")
    if foreign := [name for name in there if name not in contents.files]:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise UserError(
            f"{folder} holds {foreign[0]}{more}, which {verb} did not write; move that elsewhere, "
            "or choose another folder with --out"
        )


@contextmanager
def folder_written_beside(folder: Path, *, written_by: str) -> Iterator[Path]:
    """Yield a temporary folder that replaces `folder` when the block succeeds.

    This is `written_beside` for a folder: there is always either the old or the new one, also after
    a power cut.

    Args:
        folder: The folder that the temporary one replaces if `check_replaceable` allows it.
        written_by: The name of the command.
    """
    folder = folder.resolve()
    check_replaceable(folder, written_by)
    with temporary_folder(folder) as beside:
        yield beside
        write_contents(beside, written_by)
        put_in_place(beside, folder)


@contextmanager
def folder_filled_beside(folder: Path, *, written_by: str, key: str) -> Iterator[Path]:
    """Yield a temporary folder like `folder_written_beside`, but keep it when the run is stopped.

    The next run with the same key receives the same folder with the files that are already in it;
    a run with another key removes it. Use it for work that takes minutes and writes many files,
    while a lock on `folder` is held.

    Args:
        folder: The folder that the temporary one replaces.
        written_by: The name of the command.
        key: What the content is made from. A run with another key starts with an empty folder.
    """
    folder = folder.resolve()
    beside = folder.with_name(f".{folder.name}.{key}.part")
    with being_filled(beside):
        os.utime(beside)  # so that it is not removed as a left-over of another day
        check_replaceable(folder, written_by)
        for other in set(temporary_paths(folder)) - {beside}:
            shutil.rmtree(other, ignore_errors=True)
        yield beside
        write_contents(beside, written_by)
        put_in_place(beside, folder)


def write_contents(folder: Path, written_by: str, *, records: bool = True) -> None:
    """Write the list of all files in a folder, with their checksums.

    Args:
        folder: The folder.
        written_by: The name of the command.
        records: Whether the records of trainings are listed, too.
    """
    names = [n for n in sorted(_files_in(folder)) if records or RECORDS.isdisjoint(n.split("/"))]
    files = {name: _entry(folder / name) for name in names}
    _save(folder, Contents(written_by=written_by, files=files))


@contextmanager
def folder_extended(folder: Path, *, written_by: str) -> Iterator[None]:
    """Write the list of contents when the block succeeds, which adds files to a folder.

    Use it for trainings, which are resumed in their folder. While the block runs, the folder has no
    list, because its files may change. The records of trainings are not listed: they differ between
    equal trainings, and checkpoints have checksums of their own.

    Args:
        folder: The folder of the run.
        written_by: The name of the command.

    Raises:
        UserError: Another command has written the folder.
    """
    restore(folder)
    sweep_folder(folder)
    before = None
    with suppress(FileNotFoundError, DamagedFileError):  # a new list is written at the end
        before = read_contents(folder)
    if before and before.written_by != written_by:
        other = before.written_by.replace("_", "-")
        raise UserError(f"{folder} was written by {other}; choose another folder with --out")
    (folder / CONTENTS_FILE).unlink(missing_ok=True)
    try:
        yield
    except UserError:
        if before:  # for example, the settings were refused, so the files are still the same
            _save(folder, before)
        raise
    write_contents(folder, written_by, records=False)


def update_contents(path: Path) -> None:
    """Record a file that was written later in the nearest list of contents above it, if any."""
    if folder := _folder_with_list(path):
        contents = read_contents(folder)
        name = path.absolute().relative_to(folder).as_posix()
        files = {**contents.files, name: _entry(path)}
        _save(folder, Contents(written_by=contents.written_by, files=files))


def read_contents(folder: Path) -> Contents:
    """Return the list of the files of a folder.

    Raises:
        DamagedFileError: The list is damaged.
        OSError: There is no list.
    """
    stored = read_sealed_json(folder / CONTENTS_FILE)
    files = {name: Entry(**entry) for name, entry in stored["files"].items()}
    return Contents(written_by=stored["written_by"], files=files)


def read_result(path: Path, stage: Stage | None = None) -> bytes:
    """Return the content of a file that this project has written, after comparing its checksum.

    A file without a list of contents above it is returned as it is.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        DamagedFileError: The file was changed or damaged after it was written.
    """
    _require(path, stage)
    content = path.read_bytes()
    entry, written_by = _listed(path, stage)
    if entry and checksum(content) != entry.checksum:
        raise _damaged(path, entry, content.count(b"\n"), len(content), stage, written_by)
    return content


def was_written(path: Path) -> bool:
    """Return whether a file that a result may lack exists, or existed and was removed.

    Reading a file that was removed raises an error, whereas one that was never written is optional.
    """
    return path.exists() or _listed(path, None)[0] is not None


def written_by(path: Path) -> str:
    """Return the name of the command that wrote a folder or a file in it, or "" if no list says."""
    return _listed(path / CONTENTS_FILE, None)[1]


def listed_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that a command has written into a folder, or none if it has no list."""
    contents = _contents_of(folder, remedy="write the folder again")
    return tuple(folder / name for name in contents.files) if contents else ()


def check_result(path: Path, stage: Stage | None = None) -> None:
    """Compare a file with its checksum without keeping its content, see `read_result`.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        DamagedFileError: The file was changed or damaged after it was written.
    """
    _require(path, stage)
    entry, written_by = _listed(path, stage)
    try:
        same = not entry or _file_checksum(path) == entry.checksum
    except DamagedFileError as error:
        raise DamagedFileError(path, f"{error.how}{_then(stage, written_by)}") from error
    if entry and not same:
        raise _damaged(path, entry, None, path.stat().st_size, stage, written_by)


def read_json(path: Path, stage: Stage | None = None) -> Any:
    """Return the value of a JSON file that this project has written.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        DamagedFileError: The file was changed or damaged after it was written.
    """
    content = read_result(path, stage)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, f"is damaged{_then(stage, '')}") from error


@contextmanager
def understood(path: Path, stage: Stage | None = None) -> Iterator[None]:
    """Report what goes wrong while the content of a file is taken apart as damage of that file.

    Raises:
        DamagedFileError: The content is not what this version writes.
    """
    try:
        yield
    except NOT_UNDERSTOOD as error:
        why = f"is damaged or was written by another version ({type(error).__name__}: {error})"
        raise DamagedFileError(path, f"{why}{_then(stage, '')}") from error


def write_sealed_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object with its own checksum, for files outside of result folders."""
    plain = json.loads(json_text(value))
    write_json(path, {**plain, CHECKSUM: checksum(json_text(plain))})


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that `write_sealed_json` has written.

    Raises:
        DamagedFileError: The file was changed or damaged after it was written.
        OSError: The file cannot be read.
    """
    try:
        stored = json.loads(path.read_bytes())
        digest = stored.pop(CHECKSUM)
    except NOT_UNDERSTOOD as error:
        raise DamagedFileError(path) from error
    if checksum(json_text(stored)) != digest:
        raise DamagedFileError(path)
    return dict(stored)


def kept_json(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON object that is kept in a file; make it if the file is missing or damaged."""
    with suppress(FileNotFoundError, DamagedFileError):
        return read_sealed_json(path)
    write_sealed_json(path, make())
    return read_sealed_json(path)


def read_unchanged(folder: Path, read: Callable[[], Read]) -> Read:
    """Return what `read` reads from several files of a folder, all of them of the same version.

    If another process replaces the folder meanwhile, it is read again.

    Raises:
        UserError: The folder is replaced again and again.
    """
    restore(folder)
    for _ in range(READS):
        before = _state(folder)
        try:
            result = read()
        except (UserError, OSError, ValueError, KeyError):
            if _state(folder) == before:
                raise
        else:
            if _state(folder) == before:
                return result
    raise UserError(f"{folder} is being replaced by another process; try again when it has ended")


def _files_in(folder: Path) -> Iterator[str]:
    """Yield the relative paths of all files in a folder, and of links."""
    for above, _, names in os.walk(folder):
        for name in names:
            if name not in UNIMPORTANT or (name == CONTENTS_FILE and Path(above) != folder):
                yield PurePosixPath(os.path.relpath(os.path.join(above, name), folder)).as_posix()


def _save(folder: Path, contents: Contents) -> None:
    write_sealed_json(folder / CONTENTS_FILE, asdict(contents))


def _entry(path: Path) -> Entry:
    if path.suffix != ".csv":
        return Entry(checksum=_file_checksum(path), bytes=path.stat().st_size)
    content = path.read_bytes()
    return Entry(checksum=checksum(content), bytes=len(content), lines=content.count(b"\n"))


def _file_checksum(path: Path) -> str:
    """Return the checksum of a file; a row file compares its rows itself when they are read."""
    return open_row_file(path).checksum if is_row_file(path) else file_checksum(path)


def _listed(path: Path, stage: Stage | None) -> tuple[Entry | None, str]:
    """Return the entry of a file in the nearest list above it, and the command of that list."""
    folder = _folder_with_list(path)
    if folder is None:
        return None, ""
    again = f"; then run  {stage.command}" if stage else ""
    resumed = stage in (Stage.EMBEDDER, Stage.CLASSIFIER)  # whose commands write a new list
    remedy = f"run  {stage.command}" if stage and resumed else f"remove {folder}{again}"
    contents = _contents_of(folder, remedy=remedy)
    name = path.absolute().relative_to(folder).as_posix()
    return (contents.files.get(name), contents.written_by) if contents else (None, "")


def _contents_of(folder: Path, *, remedy: str) -> Contents | None:
    """Return the list of a folder, or None if it has none. Errors say how to get a new list."""
    try:
        return read_contents(folder)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        raise DamagedFileError(error.path, f"{error.how}; {remedy}") from error


def _folder_with_list(path: Path) -> Path | None:
    folders = path.absolute().parents[:LEVELS]
    return next((folder for folder in folders if (folder / CONTENTS_FILE).exists()), None)


def _require(path: Path, stage: Stage | None) -> None:
    if not path.exists():
        for folder in path.absolute().parents[:LEVELS]:
            restore(folder)
    if not path.exists():
        entry, written_by = _listed(path, stage)
        if entry:
            raise DamagedFileError(
                path, f"was removed after it was written{_then(None, written_by)}"
            )
        raise MissingStageError(path, stage)


def _damaged(
    path: Path, entry: Entry, lines: int | None, size: int, stage: Stage | None, written_by: str
) -> DamagedFileError:
    if lines is not None and entry.lines is not None and lines != entry.lines:
        counts = f"{lines:,} lines instead of {entry.lines:,}"
    elif size != entry.bytes:
        counts = f"{size:,} bytes instead of {entry.bytes:,}"
    else:
        counts = "its checksum differs"
    return DamagedFileError(
        path, f"was changed or damaged after it was written ({counts}){_then(stage, written_by)}"
    )


def _then(stage: Stage | None, written_by: str) -> str:
    command = command_line(written_by) if written_by else stage.command if stage else ""
    return f"; write it again with  {command}" if command else ""


def _state(folder: Path) -> bytes:
    try:
        return (folder / CONTENTS_FILE).read_bytes()
    except OSError:
        return b""
