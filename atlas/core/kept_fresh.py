"""Values made from files, which are made again only when one of the files has changed."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

SETTLED_NS = 100_000_000  # a file that changed so shortly ago can change at the same recorded time

Value = TypeVar("Value")


class KeptFresh(Generic[Value]):
    """A value made from files. Several threads may ask for it at once.

    Args:
        make: Makes the value. It is called at the first use, and after a change.
        paths: The files, which need not exist.

    Example:
        >>> words = KeptFresh(path.read_text, [path])  # doctest: +SKIP
        >>> words.get()  # doctest: +SKIP
        'as the file is now'
    """

    def __init__(self, make: Callable[[], Value], paths: Sequence[Path]) -> None:
        self._make, self._paths = make, tuple(paths)
        self._lock = threading.Lock()
        self._held: tuple[list[tuple[int, ...] | None], Value] | None = None

    def get(self) -> Value:
        """Return the value for the files as they are now."""
        with self._lock:
            found = [_status(path) for path in self._paths]
            if self._held is not None and self._held[0] == _signatures(found):
                return self._held[1]
            value = self._make()
            latest_ns = max((one.st_mtime_ns for one in found if one), default=0)
            settled = time.time_ns() - latest_ns > SETTLED_NS
            self._held = (_signatures(found), value) if settled else None
            return value


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _signatures(found: Sequence[os.stat_result | None]) -> list[tuple[int, ...] | None]:
    return [one and (one.st_mtime_ns, one.st_size, one.st_ino) for one in found]
