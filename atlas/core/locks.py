"""Locks on results, so that two commands never write the same folder at the same time.

The lock of `runs/index` is the file `runs/.index.lock`, which the kernel locks with flock until the
command ends, however it ends. So a file that a killed command leaves behind never blocks the next
command. The file says which process holds the lock.

The lock file is removed at the end. A process may open the file just before its owner removes it,
and would then hold a lock that nobody else can find. So each process checks, after locking, that
the file still has its name, and begins again if it does not.
"""

import atexit
import errno
import fcntl
import inspect
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from atlas.core.errors import UserError, command_line

LOGGER = logging.getLogger(__name__)
HELD_BY_PARENT = "ATLAS_HELD_LOCKS"  # the folders that the command that started this one has locked

P = ParamSpec("P")
R = TypeVar("R")

# What file systems answer that have no locks, or on which this user may not create a file.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
_NO_FILE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
_LONGEST_OWNER = 4096


@contextmanager
def locked(folder: Path, *, command: str) -> Iterator[None]:
    """Hold the lock on a result while the block runs.

    The same thread may take the lock again, and so may a command that this process starts with
    `run_command`. Reading needs no lock.

    Args:
        folder: The result that is written, a folder or a file.
        command: What the user typed to write it, which other commands show.

    Raises:
        UserError: Another process, or another thread of this one, is writing the result.
    """
    path = Path(os.path.realpath(folder))
    if (path, threading.get_ident()) in _held or str(path) in _held_by_parent():
        yield
        return
    missing = [parent for parent in path.parents if not parent.exists()]
    lock = _take(folder, _lock_file(path), command)
    _held[path, threading.get_ident()] = lock
    try:
        yield
    finally:
        del _held[path, threading.get_ident()]
        _release(lock)
        for parent in missing:
            with suppress(OSError):  # it holds the result
                parent.rmdir()


def writes(argument: str, *, command: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions that write a result: each call holds the result's lock.

    Args:
        argument: The name of the argument that is the path of the result.
        command: The name of the command; by default that of the function.

    Example:
        @writes("out")
        def build_index(data: Path, out: Path) -> Index: ...
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def holding(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            folder = Path(bound.arguments[argument])
            with locked(folder, command=command_line(command or function.__name__)):
                return function(*args, **kwargs)

        return holding

    return decorate


def locks_for_children() -> dict[str, str]:
    """Return the environment variable that lets a child process write what this one has locked."""
    folders = {str(path) for path, _ in tuple(_held)} | _held_by_parent()
    return {HELD_BY_PARENT: json.dumps(sorted(folders))}


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock, as its lock file describes it."""

    pid: int
    host: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command})"


@dataclass(frozen=True)
class _Lock:
    file: Path
    handle: int | None  # None where the file system has no locks


_held: dict[tuple[Path, int], _Lock] = {}  # by result and thread


def _held_by_parent() -> set[str]:
    return set(json.loads(os.environ.get(HELD_BY_PARENT, "[]")))


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _take(folder: Path, file: Path, command: str) -> _Lock:
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = _opened(file)
        except FileNotFoundError:
            continue  # another process has just removed the empty parent folder
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            return _without(folder, file, error)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(handle)
            os.close(handle)
            raise _refusal(folder, owner) from None
        except OSError as error:
            os.close(handle)
            if error.errno not in _NO_LOCKS:
                raise
            return _without(folder, file, error)
        if _is_still(file, handle):
            _describe(handle, command)
            return _Lock(file, handle)
        os.close(handle)


def _opened(file: Path) -> int:
    """Open the lock file, without following a link that somebody else may have put there."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except PermissionError as error:  # perhaps it is another user's; reading suffices for flock
        with suppress(OSError):
            return os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        raise error


def _is_still(file: Path, handle: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(file.lstat(), os.fstat(handle))
    return False


def _describe(handle: int, command: str) -> None:
    owner = Owner(os.getpid(), socket.gethostname(), command)
    with suppress(OSError):  # a full disk: the lock holds without a description, too
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(owner)).encode(), 0)


def _owner(handle: int) -> str:
    try:
        found = json.loads(os.pread(handle, _LONGEST_OWNER, 0))
        owner = str(Owner(int(found["pid"]), str(found["host"]), str(found["command"])))
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has not yet written who it is
    return owner if owner.isprintable() else "another process"


def _refusal(folder: Path, owner: str) -> UserError:
    return UserError(
        f"{folder} is being written by {owner}; wait until it ends, or choose another folder with "
        "--out"
    )


def _without(folder: Path, file: Path, error: OSError) -> _Lock:
    LOGGER.warning(
        f"{file} cannot be locked ({error.strerror}); make sure that no other command writes "
        f"{folder} now"
    )
    return _Lock(file, None)


def _release(lock: _Lock) -> None:
    if lock.handle is None:
        return
    with suppress(OSError):  # another user's file in a folder that only its owner may change
        lock.file.unlink()
    # Closing alone would leave the lock to the processes that were forked meanwhile.
    fcntl.flock(lock.handle, fcntl.LOCK_UN)
    os.close(lock.handle)


@atexit.register
def _release_all() -> None:
    """Remove the lock files of a command that is stopped."""
    while _held:
        with suppress(OSError):
            _release(_held.popitem()[1])


def _forget() -> None:
    """Leave the locks to the process that was forked; in the new one, nothing is locked."""
    for lock in _held.values():
        if lock.handle is not None:
            os.close(lock.handle)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
