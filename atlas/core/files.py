"""Functions that write files safely: a killed run or a power cut leaves no broken file.

Equal work gives equal bytes.
"""

import ctypes
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.lock_file import is_alive

LEFT_OVER_SECONDS = 24 * 3600
FULL_BELOW_BYTES = 1 << 20  # a disk with less room counts as full after an error

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h and linux/fs.h

MANY_FILES = 200

_unfinished: set[Path] = set()  # temporary paths that threads of this process are writing
_filling: set[Path] = set()  # folders for `put_in_place`

AnyPath: TypeAlias = str | os.PathLike[str]  # the type of paths in public functions


class InFolder(os.PathLike[str]):
    """A result that lies in a folder and can be passed wherever the path of that folder can."""

    folder: Path

    def __fspath__(self) -> str:
        return str(self.folder)


@contextmanager
def written_beside(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block succeeds.

    The temporary path has the same ending. If the block raises, the older file stays.

    Args:
        path: The file.
        durable: Whether the file must survive a power cut as soon as this function returns. A cache
            need not: a file that is damaged is computed again.

    Raises:
        OSError: The file cannot be written, for example because the disk is full. The error names
            the file, also if a library reported the problem in another way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{_owner()}.part{path.suffix}")
    # A folder that is being filled is written to the disk as a whole.
    durable = durable and _filling.isdisjoint(beside.absolute().parents)
    if durable:
        sweep(path)
    try:
        _unfinished.add(beside)
        with disk_errors_name(path, beside):
            yield beside
            if durable:
                sync_file(beside)
            os.replace(beside, path)
            if durable:
                sync_folder(path.parent)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        _unfinished.discard(beside)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`, which is removed at the end of the block.

    Its name says which process it belongs to, so `sweep` removes it if that process is killed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{_owner()}.part")
    try:
        _unfinished.add(beside)
        with being_filled(beside), disk_errors_name(folder, beside):
            yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        _unfinished.discard(beside)


@contextmanager
def being_filled(beside: Path) -> Iterator[None]:
    """Create a folder whose files need not be on the disk before `put_in_place` is called."""
    beside.mkdir(parents=True, exist_ok=True)
    _filling.add(beside.absolute())
    try:
        yield
    finally:
        _filling.discard(beside.absolute())


def put_in_place(beside: Path, folder: Path) -> None:
    """Make `beside` the new `folder`, and remove what `folder` was before.

    All files of `beside` are written to the disk first. On Linux, the two folders are exchanged in
    one step, so that at every moment there is either the old or the new one. Elsewhere there is a
    short moment without the folder; `restore` puts the old folder back if the process ends then.
    """
    _sync_all(beside)
    if not folder.exists():
        os.replace(beside, folder)
    elif not _exchanged(beside, folder):
        old = folder.with_name(f".{folder.name}.{_owner()}.old")
        os.replace(folder, old)
        try:
            os.replace(beside, folder)
        except BaseException:
            if not folder.exists():
                os.replace(old, folder)
            raise
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
        return
    sync_folder(folder.parent)
    shutil.rmtree(beside, ignore_errors=True)  # the old folder, if they were exchanged


def restore(folder: Path) -> None:
    """Put back the folder that a process was replacing when it ended, if there is one."""
    if os.path.lexists(folder) or not folder.parent.is_dir():
        return
    for old in sorted(_beside(folder, ".old")):
        if _is_left_over(old):
            with suppress(OSError):
                os.replace(old, folder)
            return


def sweep(path: Path) -> None:
    """Remove temporary files and folders that killed processes have left beside `path`.

    The name of a temporary file says which process on which computer writes it. If that process
    does not exist any more, the file is removed. A file of another computer is removed if nobody
    has changed it for a day.
    """
    for ending in (".part", f".part{path.suffix}", ".old"):
        for beside in _beside(path, ending):
            if _is_left_over(beside):
                _remove(beside)


def temporary_paths(path: Path) -> list[Path]:
    """Return the temporary files and folders beside `path`, whoever writes them."""
    return _beside(path, ".part")


def sweep_folder(folder: Path) -> None:
    """Remove all temporary files that killed processes have left directly in `folder`."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(".") and ".part" in path.name and _is_left_over(path):
                _remove(path)


def remove_unfinished() -> None:
    """Remove the temporary files of this process, which is about to end."""
    for path in tuple(_unfinished):
        _remove(path)


@contextmanager
def disk_errors_name(path: Path, beside: Path | None = None) -> Iterator[None]:
    """Raise errors of the disk as OSError with the name of the file that the user knows.

    Libraries report a full disk in many ways, often without the name of the file.

    Args:
        path: The file or folder that is written.
        beside: Its temporary name, or None.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise _full_disk(path) or error from error.__cause__
        if error.filename in (None, "", str(beside or path)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    except UserError:
        raise
    except Exception as error:
        if full := _full_disk(path):
            raise full from error
        raise


def sync_file(path: Path) -> None:
    """Return when the content of a file is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        _sync(number)
    finally:
        os.close(number)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk, if the system can do so."""
    with suppress(OSError):  # Windows cannot open folders
        sync_file(folder)


def json_text(value: Any) -> str:
    """Return a value as JSON with sorted keys, so that equal values give equal text.

    Dataclasses, paths and NumPy values may be nested in it.
    """
    return json.dumps(value, indent=1, sort_keys=True, default=_plain, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, see `json_text`."""
    write_bytes(path, json_text(value).encode(errors="surrogateescape"))


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file, see `written_beside`."""
    with written_beside(path, durable=durable) as beside:
        beside.write_bytes(content)


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
            digest.update(part.encode(errors="surrogateescape") if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _owner() -> str:
    """Return a text for names of temporary files: the computer, the process and a random number."""
    return f"{_computer()}-{os.getpid()}-{secrets.token_hex(4)}"


@cache
def _computer() -> str:
    """Return 8 hex digits for this computer or container, in which process numbers are unique."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _beside(path: Path, ending: str) -> list[Path]:
    """Return the temporary paths of `path` with this ending."""
    start = f".{path.stem if '.' in ending[1:] else path.name}."
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    return [
        path.with_name(name)
        for name in names
        if name.startswith(start) and name.endswith(ending) and len(name) > len(start + ending)
    ]


def _is_left_over(path: Path) -> bool:
    """Return whether no process writes this temporary path any more."""
    owner = re.search(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(?:part|old)", path.name)
    if owner and owner[1] == _computer():
        return not is_alive(int(owner[2]))
    try:
        return time.time() - path.stat().st_mtime >= LEFT_OVER_SECONDS
    except OSError:
        return False  # another process has just finished it


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step, and return whether the system can do so."""
    rename = getattr(_libc(), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM):
        return False  # for example, a network file system
    raise OSError(number, os.strerror(number), str(other))


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


def _sync_all(folder: Path) -> None:
    """Return when a folder and everything in it is on the disk."""
    paths = list(folder.rglob("*"))
    if len(paths) > MANY_FILES and hasattr(os, "sync"):
        os.sync()  # which takes less time than thousands of calls for single files
        return
    for path in (*paths, folder):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            sync_file(path)


def _sync(number: int) -> None:
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # it has no disk
            raise


def _full_disk(path: Path) -> OSError | None:
    with suppress(OSError):
        if shutil.disk_usage(path.parent).free < FULL_BELOW_BYTES:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return None


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
