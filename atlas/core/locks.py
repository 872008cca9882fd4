"""Locks on results, so that two commands never write the same folder at the same time.

The lock of `runs/index` is the file `runs/.index.lock`, which says which process holds it; see
`LockFile`. Reading needs no lock.
"""

import errno
import inspect
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from atlas.core.errors import UserError, command_line
from atlas.core.execution import current_share
from atlas.core.healing import healed
from atlas.core.lock_file import LockFile, read_lock_file

LOGGER = logging.getLogger(__name__)
HELD_BY_PARENT = "ATLAS_HELD_LOCKS"  # the results that the command that started this one has locked

P = ParamSpec("P")
R = TypeVar("R")

# The errors of file systems without locks, and of folders in which this user may create no file.
_CANNOT_LOCK = {
    errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL,
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG,
}  # fmt: skip

# A command whose parent was killed ends within this time, while the next run starts it again.
WAITS_FOR_ORPHANS_S = 3.0
TRIES = 10

_held: set[tuple[Path, int]] = set()  # results and the threads that write them


@contextmanager
def locked(result: Path, *, command: str) -> Iterator[None]:
    """Hold the lock on a result while the block runs.

    The same thread may take the lock again, and so may a command that this process starts with
    `run_command`. A command with `--part` writes no result and takes no lock. Where there can be no
    lock, a warning is logged.

    Args:
        result: The folder or file that is written.
        command: What the user typed to write it. Other commands show it.

    Raises:
        UserError: Another process, or another thread of this one, is writing the result.
    """
    path = Path(os.path.realpath(result))
    mine = (path, threading.get_ident())
    if mine in _held or str(path) in _held_by_parent() or current_share():
        yield
        return
    missing = [parent for parent in path.parents if not parent.exists()]
    lock = _take(result, path.with_name(f".{path.name}.lock"), command)
    _held.add(mine)
    try:
        yield
    finally:
        _held.discard(mine)
        if lock:
            lock.release()
        for parent in missing:
            with suppress(OSError):  # the result is in it
                parent.rmdir()


def writes(argument: str, *, command: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions that write a result: each call holds the result's lock.

    If a row cache was damaged, its rows are computed again; see `healed`.

    Args:
        argument: The name of the argument that is the path of the result.
        command: The name of the command; by default that of the function.

    Example:
        @writes("out")
        def build_index(data: Path, out: Path) -> Index: ...
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature, work = inspect.signature(function), healed(function)

        @wraps(function)
        def holding(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            result = Path(bound.arguments[argument])
            with locked(result, command=command_line(command or function.__name__)):
                return work(*args, **kwargs)

        return holding

    return decorate


def locks_for_children() -> dict[str, str]:
    """Return the environment variable that lets a child process write what this one has locked."""
    results = {str(path) for path, _ in tuple(_held)} | _held_by_parent()
    return {HELD_BY_PARENT: json.dumps(sorted(results))}


def _held_by_parent() -> set[str]:
    return set(json.loads(os.environ.get(HELD_BY_PARENT, "[]")))


def _take(result: Path, file: Path, command: str) -> LockFile | None:
    try:
        lock = _patiently_taken(file)
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
        LOGGER.warning(
            f"{file} cannot be locked ({error.strerror}); make sure that no other command writes "
            f"{result} now"
        )
        return None
    if lock is None:
        raise UserError(
            f"{result} is being written by {_owner(file)}; wait until it ends, or choose another "
            "folder with --out"
        )
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "command": command}
    lock.write(json.dumps(owner))
    return lock


def _patiently_taken(file: Path) -> LockFile | None:
    """Take the lock, or return None if another process has it and does not end at once."""
    waits_s = WAITS_FOR_ORPHANS_S if HELD_BY_PARENT in os.environ else 0.0
    until = time.monotonic() + waits_s
    while True:
        lock = _taken_in_new_folder(file)
        if lock or time.monotonic() >= until:
            return lock
        time.sleep(0.1)


def _taken_in_new_folder(file: Path) -> LockFile | None:
    for _ in range(TRIES):
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process has just removed the empty folder
            return LockFile.take(file)
    return LockFile.take(file)


def _owner(file: Path) -> str:
    """Return who holds a lock, in words; its file is as untrusted as any other."""
    try:
        found = json.loads(read_lock_file(file))
        owner = f"process {int(found['pid'])} on {found['host']} ({found['command']})"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "another process"  # which has not yet written what it is
    return owner if owner.isprintable() else "another process"


def _forget() -> None:
    _held.clear()


os.register_at_fork(after_in_child=_forget)
