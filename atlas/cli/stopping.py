"""Ctrl-C, SIGTERM and SIGHUP: a stopped command prints one line and ends within two seconds.

A terminal that is closed sends SIGHUP.

A signal raises KeyboardInterrupt in the main thread, which unwinds the current work; then the
process ends at once, without waiting for threads. If the main thread does not react, because it is
inside a library that does not return for seconds, a second thread ends the process. In both cases
child processes are ended and unfinished files are removed. Finished files are always complete,
because they are written elsewhere and then renamed.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from atlas.core.lock_file import release_all
from atlas.core.processes import STOPPED_BY_PARENT, end_with
from atlas.core.progress import hide_progress

STOPPED = "stopped; run the same command again to resume it (finished work is kept)"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S, GRACE_OF_CHILDREN_S = 1.2, 0.5  # the time that the main thread has to unwind
CLEANING_S = 0.4
CLEAR_BELOW = b"\r\x1b[J"  # the cursor is in the line of the first progress bar


@contextmanager
def stoppable() -> Iterator[None]:
    """End the process with status 130 after Ctrl-C, 143 after SIGTERM, and 129 after SIGHUP.

    Signals that are ignored stay ignored, and existing handlers stay in force. Outside the main
    thread, which alone receives signals, it has no effect. A command that another command started
    is also stopped when that one has been killed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = _Stop()
    try:
        with _listening(stop):
            yield
    finally:  # even after an error: that of an interrupted library is meaningless
        if stop.signal is not None:
            stop.end()


class _Stop:
    """The state of stopping; `signal` is the first signal that arrived."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._raised = False
        self._ending = threading.Lock()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Unwind the main thread once; another Ctrl-C must not interrupt the unwinding."""
        self.note(number)
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def watch(self, reader: int) -> None:
        """End the process if the main thread does not, some time after a signal."""
        child = STOPPED_BY_PARENT in os.environ
        with os.fdopen(reader, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] in SIGNALS:
                    self.note(number[0])
                    time.sleep(GRACE_OF_CHILDREN_S if child else GRACE_S)
                    self.end()

    def note(self, number: int) -> None:
        """Record the first signal, and hide progress bars and later errors."""
        if self.signal is None:
            self.signal = number
            hide_progress()
            # Work that is interrupted in a thread or a destructor would print a traceback.
            sys.unraisablehook = lambda _: None
            threading.excepthook = lambda _: None

    def end(self) -> NoReturn:
        """Print that the command was stopped, clean up for a moment, and end."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # the other thread ends this process
        assert self.signal is not None
        with suppress(OSError):
            if os.isatty(2):
                os.write(2, CLEAR_BELOW)
            if STOPPED_BY_PARENT not in os.environ:
                os.write(2, f"{STOPPED}\n".encode())
        cleaning = threading.Thread(target=_clean_up, daemon=True)
        cleaning.start()
        cleaning.join(CLEANING_S)
        os._exit(128 + self.signal)


@contextmanager
def _listening(stop: _Stop) -> Iterator[None]:
    usual = (signal.default_int_handler, signal.SIG_DFL)
    before = {n: handler for n in SIGNALS if (handler := signal.getsignal(n)) in usual}
    if not before:
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fd_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, stop.handle)
    threading.Thread(target=stop.watch, args=(reader,), name="stopping", daemon=True).start()
    if parent := os.environ.get(STOPPED_BY_PARENT):
        end_with(int(parent), signal.SIGTERM)
    try:
        yield
    finally:
        if stop.signal is None:  # else the process is about to end
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd_before)
            os.close(writer)


def _clean_up() -> None:
    """End processes first, as they may write; then remove files and locks; then run the rest."""
    if multiprocessing := sys.modules.get("multiprocessing"):
        for process in multiprocessing.active_children():
            process.kill()
    if files := sys.modules.get("atlas.core.files"):
        files.remove_unfinished()
    release_all()
    with suppress(Exception):
        atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
