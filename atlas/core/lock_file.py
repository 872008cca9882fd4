"""Files that the kernel locks until the process that locked them ends, however it ends.

So a file that a killed process leaves behind blocks nobody. The file is removed when the lock is
released. A process may open the file just before its owner removes it, and would then hold a lock
that nobody else can find. So each process checks, after locking, that the file still has its name,
and begins again if it does not.
"""

import atexit
import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LONGEST_TEXT = 4096


@dataclass(frozen=True, eq=False)
class LockFile:
    """A file that this process has locked.

    Attributes:
        file: The path of the file.
        handle: Its file descriptor.
    """

    file: Path
    handle: int

    @classmethod
    def take(cls, file: Path) -> "LockFile | None":
        """Create the file if it does not exist, and lock it.

        Returns:
            The locked file, or None if another process, or this one, has locked it.

        Raises:
            OSError: The file cannot be opened, or its file system has no locks.
        """
        while True:
            handle = _opened(file)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(file, handle):
                    lock = cls(file, handle)
                    _taken.add(lock)
                    return lock
            except BlockingIOError:
                os.close(handle)
                return None
            except OSError:
                os.close(handle)
                raise
            os.close(handle)

    def write(self, text: str) -> None:
        """Replace the text of the file, unless the disk is full or the file is another user's."""
        with suppress(OSError):
            os.ftruncate(self.handle, 0)
            os.pwrite(self.handle, text.encode(), 0)

    def release(self) -> None:
        """Remove and unlock the file."""
        _taken.discard(self)
        with suppress(OSError):  # another user's file in a folder where only its owner removes it
            self.file.unlink()
        # Closing alone would leave the lock to the processes that were forked meanwhile.
        fcntl.flock(self.handle, fcntl.LOCK_UN)
        os.close(self.handle)


def is_alive(pid: int) -> bool:
    """Return whether a process of this computer exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def read_lock_file(file: Path) -> str:
    """Return the text of a file that another process has locked, or "" if it has just removed it.

    The text is cut off after LONGEST_TEXT bytes.
    """
    with suppress(OSError):
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return os.pread(handle, LONGEST_TEXT, 0).decode(errors="replace")
        finally:
            os.close(handle)
    return ""


def is_locked(file: Path) -> bool:
    """Return whether a process has locked the file, also if it did so without a LockFile."""
    with suppress(OSError):
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


@atexit.register
def release_all() -> None:
    """Remove and unlock all files of this process, which is about to end."""
    for lock in tuple(_taken):
        with suppress(OSError):
            lock.release()


_taken: set[LockFile] = set()  # the locks of this process


def _opened(file: Path) -> int:
    """Open the file, without following a link that somebody else may have put there."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except PermissionError as error:  # perhaps it is another user's; reading suffices for locking
        with suppress(OSError):
            return os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        raise error


def _is_still(file: Path, handle: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(file.lstat(), os.fstat(handle))
    return False


def _forget() -> None:
    """Leave the locks to the process that was forked; the new one holds none."""
    for lock in _taken:
        os.close(lock.handle)
    _taken.clear()


os.register_at_fork(after_in_child=_forget)
