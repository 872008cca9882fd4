"""Functions that write files safely: a killed run leaves no broken file.

Equal work gives equal bytes.
"""

import glob
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import MissingStageError, Stage, UserError

LEFT_OVER_SECONDS = 24 * 3600

_unfinished: set[Path] = set()  # temporary paths that threads of this process are writing

AnyPath: TypeAlias = str | os.PathLike[str]  # the type of paths in public functions


class InFolder(os.PathLike[str]):
    """A result that lies in a folder and can be passed wherever the path of that folder can."""

    folder: Path

    def __fspath__(self) -> str:
        return str(self.folder)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block succeeds.

    The temporary path has the same ending. If the block raises, the older file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        _unfinished.add(beside)
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
        _unfinished.discard(beside)


def check_replaceable(folder: Path, *, holds: str) -> None:
    """Check that `folder` may be replaced, before long work starts.

    A folder may be replaced if it does not exist, is empty, or holds the file `holds`, which an
    earlier run has written.

    Raises:
        UserError: The folder holds something else.
    """
    if folder.is_dir() and ((folder / holds).is_file() or not any(folder.iterdir())):
        return
    if folder.exists():
        what = f"it holds no {holds}" if folder.is_dir() else "it is not a folder"
        raise UserError(
            f"{folder} exists and was not written by this command ({what}); "
            "choose another name with --out"
        )


@contextmanager
def folder_written_beside(folder: Path, *, holds: str) -> Iterator[Path]:
    """Yield a temporary folder that replaces `folder` when the block succeeds.

    This is `written_beside` for a folder. An existing folder is replaced only if
    `check_replaceable` allows it.
    """
    folder = folder.resolve()
    check_replaceable(folder, holds=holds)
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(folder.parent, f".{glob.escape(folder.name)}.*.part")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        _unfinished.add(beside)
        beside.mkdir()
        yield beside
        _put_in_place(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        _unfinished.discard(beside)


@contextmanager
def folder_filled_beside(folder: Path, *, holds: str, key: str) -> Iterator[Path]:
    """Yield a temporary folder like `folder_written_beside`, but keep it when the run is stopped.

    The next run with the same key receives the same folder with the files that are already in it.
    Use it for work that takes minutes and writes many files.

    Args:
        folder: The folder that the temporary one replaces.
        holds: See `check_replaceable`.
        key: What the content is made from. A run with another key starts with an empty folder.
    """
    folder = folder.resolve()
    check_replaceable(folder, holds=holds)
    beside = folder.with_name(f".{folder.name}.{key}.part")
    beside.mkdir(parents=True, exist_ok=True)
    os.utime(beside)
    remove_left_over(folder.parent, f".{glob.escape(folder.name)}.*.part")
    yield beside
    _put_in_place(beside, folder)


def remove_left_over(folder: Path, pattern: str) -> None:
    """Remove temporary files and folders that killed runs have left.

    Only paths that nobody has changed for a day are removed, because another process may be writing
    the same file now.
    """
    for path in folder.glob(pattern):
        try:
            if time.time() - path.stat().st_mtime < LEFT_OVER_SECONDS:
                continue
        except FileNotFoundError:
            continue  # another process has just finished it
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_unfinished() -> None:
    """Remove the temporary files of this process, which is about to end."""
    for path in tuple(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def json_text(value: Any) -> str:
    """Return a value as JSON with sorted keys, so that equal values give equal text.

    Dataclasses, paths and NumPy values may be nested in it.
    """
    return json.dumps(value, indent=1, sort_keys=True, default=_plain, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, see `json_text`."""
    with written_beside(path) as beside:
        beside.write_text(json_text(value), encoding="utf-8")


def read_json(path: Path, stage: Stage | None = None) -> Any:
    """Return the value of a JSON file.

    Raises:
        MissingStageError: The file does not exist. The text names the command of `stage`.
        UserError: The file is damaged.
    """
    if not path.exists():
        raise MissingStageError(path, stage)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        again = f"; write it again with  {stage.command}" if stage else ""
        raise UserError(f"{path} is damaged ({error}){again}") from error


def content_hash(*parts: str | bytes | NDArray[Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of texts and arrays.

    The type and shape of an array are part of the hash.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _put_in_place(beside: Path, folder: Path) -> None:
    if not folder.exists():
        os.replace(beside, folder)
        return
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old.part")
    os.replace(folder, old)
    try:
        os.replace(beside, folder)
    except BaseException:
        if not folder.exists():
            os.replace(old, folder)
        raise
    _unfinished.add(old)
    try:
        shutil.rmtree(old)
    finally:
        _unfinished.discard(old)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")
