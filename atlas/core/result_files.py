"""Files of results, which are compared with the checksums in the list of contents when read.

Errors name the file and the command that writes it again.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atlas.core.checksums import checksum
from atlas.core.contents import (
    CONTENTS_FILE,
    LEVELS,
    Entry,
    checksum_of,
    contents_of,
    folder_with_list,
)
from atlas.core.errors import MissingStageError, Stage, command_line
from atlas.core.files import restore
from atlas.core.row_file import DamagedFileError
from atlas.core.sealed_json import NOT_UNDERSTOOD


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


def check_result(path: Path, stage: Stage | None = None) -> None:
    """Compare a file with its checksum without keeping its content, see `read_result`.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        DamagedFileError: The file was changed or damaged after it was written.
    """
    _require(path, stage)
    entry, written_by = _listed(path, stage)
    try:
        same = not entry or checksum_of(path) == entry.checksum
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


def _listed(path: Path, stage: Stage | None) -> tuple[Entry | None, str]:
    """Return the entry of a file in the nearest list above it, and the command of that list."""
    folder = folder_with_list(path)
    if folder is None:
        return None, ""
    again = f"; then run  {stage.command}" if stage else ""
    resumed = stage in (Stage.EMBEDDER, Stage.CLASSIFIER)  # whose commands write a new list
    remedy = f"run  {stage.command}" if stage and resumed else f"remove {folder}{again}"
    contents = contents_of(folder, remedy=remedy)
    name = path.absolute().relative_to(folder).as_posix()
    return (contents.files.get(name), contents.written_by) if contents else (None, "")


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
