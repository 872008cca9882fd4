"""Writing so that a killed run leaves no broken file, and equal work gives equal bytes."""

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

_unfinished: set[Path] = set()  # what this process is writing beside its place, by any thread

AnyPath: TypeAlias = str | os.PathLike[str]  # what public functions take as a path


class InFolder(os.PathLike[str]):
    """A result that lies in a folder, and that can be given wherever that folder's path can."""

    folder: Path

    def __fspath__(self) -> str:
        return str(self.folder)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Gives a path beside `path`, with the same ending; renames it when all went well."""
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
    """Raises UserError unless `folder` is new, empty, or an older one that holds the file `holds`.

    Call it before long work: a folder of anything else is never replaced.
    """
    if folder.is_dir() and ((folder / holds).is_file() or not any(folder.iterdir())):
        return
    if folder.exists():
        what = f"it holds no {holds}" if folder.is_dir() else "it is no folder"
        raise UserError(
            f"{folder} exists and was not written by this command ({what}); give --out another name"
        )


@contextmanager
def folder_written_beside(folder: Path, *, holds: str) -> Iterator[Path]:
    """Like `written_beside` for a folder; an older one that holds `holds` too is replaced."""
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
    """Like `folder_written_beside`, but what a stopped run has filled is given again to the next of
    the same key, which says what it is made from: for work of many files and minutes."""
    folder = folder.resolve()
    check_replaceable(folder, holds=holds)
    beside = folder.with_name(f".{folder.name}.{key}.part")
    beside.mkdir(parents=True, exist_ok=True)
    os.utime(beside)
    remove_left_over(folder.parent, f".{glob.escape(folder.name)}.*.part")
    yield beside
    _put_in_place(beside, folder)


def remove_left_over(folder: Path, pattern: str) -> None:
    """Removes what killed runs left beside.

    Only what nobody has touched for a day: another process may be writing the same thing now.
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
    """Remove what this process is writing beside its place, before it ends at once."""
    for path in tuple(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def json_text(value: Any) -> str:
    """JSON with sorted keys: equal values are equal text. Dataclasses and paths may nest."""
    return json.dumps(value, indent=1, sort_keys=True, default=_plain, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    with written_beside(path) as beside:
        beside.write_text(json_text(value), encoding="utf-8")


def read_json(path: Path, stage: Stage | None = None) -> Any:
    """Read the JSON that `stage` wrote; raises MissingStageError where it is missing."""
    if not path.exists():
        raise MissingStageError(path, stage)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        again = f"; make it again: {stage.command}" if stage else ""
        raise UserError(f"{path} is damaged ({error}){again}") from error


def content_hash(*parts: str | bytes | NDArray[Any]) -> str:
    """SHA-256 (16 hex digits) of texts and arrays; an array counts with its type and shape."""
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
    raise TypeError(f"{type(value).__name__} has no JSON form")
