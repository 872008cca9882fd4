"""Result folders: what a command writes as a whole, with a list of its files (`contents.py`).

A folder is replaced in one step, and only if every file in it was written by the same command.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from atlas.core.contents import (
    CONTENTS_FILE,
    contents_of,
    files_in,
    read_contents,
    save_contents,
    write_contents,
)
from atlas.core.errors import UserError
from atlas.core.files import (
    being_filled,
    put_in_place,
    restore,
    sweep,
    sweep_folder,
    temporary_folder,
    temporary_paths,
)
from atlas.core.row_file import DamagedFileError

Read = TypeVar("Read")

READS = 20  # how often a folder is read again that is being replaced


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
    there = sorted(files_in(folder))
    if not there and not (folder / CONTENTS_FILE).exists():
        return
    verb = written_by.replace("_", "-")
    other = f"choose another folder with --out, or remove {folder}"
    contents = contents_of(folder, remedy=f"remove {folder} and run the same command again")
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
            save_contents(folder, before)
        raise
    write_contents(folder, written_by, records=False)


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


def _state(folder: Path) -> bytes:
    try:
        return (folder / CONTENTS_FILE).read_bytes()
    except OSError:
        return b""
