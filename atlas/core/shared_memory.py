"""What killed processes leave in shared memory is removed when the next command starts.

Libraries that share arrays and semaphores between processes name them after the process that made
them, and remove them when it ends. They cannot if that process and its helpers are killed at once,
and then memory is lost until the machine is restarted.

So a process that starts workers first puts an empty file into shared memory, named after itself,
and holds a lock on it. Whoever can take that lock knows that the process has ended, even where
containers share memory but not the numbers of processes.
"""

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from atlas.core.lock_file import LockFile, is_alive

SHARED_MEMORY = Path("/dev/shm")
_OWNER = re.compile(r"\.atlas-(\d+)-[0-9a-f]+\.lock")
# The names that joblib, its executor loky, and torch give.
_LEFT_BY = ("joblib_memmapping_folder_{pid}_*", "sem.loky-{pid}-*", "torch_{pid}_*")


@cache
def will_be_swept(folder: Path = SHARED_MEMORY) -> None:
    """Let `sweep` remove what this process and its workers leave in shared memory, once it ends."""
    if folder.is_dir():
        file = folder / f".atlas-{os.getpid()}-{os.urandom(4).hex()}.lock"
        with suppress(OSError):  # no memory is left, or there are no locks: nothing will be swept
            LockFile.take(file)


def sweep(folder: Path = SHARED_MEMORY) -> None:
    """Remove what processes of this user left in shared memory before they were killed.

    Only what processes left is removed that called `will_be_swept` and no longer run.
    """
    with suppress(OSError):
        owners = {owner[1] for path in folder.iterdir() if (owner := _OWNER.fullmatch(path.name))}
        for pid in owners:
            if not is_alive(int(pid)):
                _sweep_after(pid, folder)


def _sweep_after(pid: str, folder: Path) -> None:
    import tempfile  # imported late, because most commands find nothing to remove

    # Processes of other containers may have had the same number. If one of them runs, nothing says
    # what is whose.
    files = tuple(filter(_is_own, folder.glob(f".atlas-{pid}-*.lock")))
    locks = [LockFile.take(file) for file in files]
    if all(locks):
        for place in {folder, Path(tempfile.gettempdir())}:
            for pattern in _LEFT_BY:
                for path in filter(_is_own, place.glob(pattern.format(pid=pid))):
                    _remove(path)
    for lock in filter(None, locks):
        lock.release()


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_own(path: Path) -> bool:
    with suppress(OSError):
        return path.lstat().st_uid == os.geteuid()
    return False
