"""How a command ends that cannot do what it was asked to do: one line, and an exit status.

| status | reason |
|---|---|
| 1 | what the user, the disk, the memory or the system did not allow |
| 70 | a bug of this program, after the traceback for its report |
| 129, 130, 143 | SIGHUP, Ctrl-C, SIGTERM; see `stoppable` |
| 141 | nobody reads the output any more |
"""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

from atlas.cli.stopping import stoppable
from atlas.core.errors import UserError
from atlas.core.escaping import escaped

BUG = 70  # EX_SOFTWARE of sysexits.h
BROKEN_PIPE = 141  # 128 and the number of SIGPIPE, as a shell reports it
KILLED_WORKER = (
    "a worker process was killed, perhaps because memory ran out; run the same command again to "
    "resume it"
)
REPORT = (
    "this is a bug of atlas; please report it with the lines above (results that exist are "
    "complete, and the same command resumes what is not)"
)
# Errors of libraries that need not be loaded: the names of their classes, or words of their texts.
_KILLED_WORKER = ("TerminatedWorkerError", "DataLoader worker (pid")
_NO_MEMORY = (
    "OutOfMemoryError", "DefaultCPUAllocator: can't allocate memory", "(-4:Insufficient memory)",
)  # fmt: skip


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Exit with one line that says what went wrong, and the status that this module lists.

    A command whose output nobody reads any more, as in `| head`, exits silently. The traceback of
    an error that nobody foresaw is kept.
    """
    with stoppable():
        try:
            try:
                yield
            finally:
                sys.stdout.flush()  # here, where an error can still be caught
        except UserError as error:
            _exit(str(error))
        except BrokenPipeError:
            _discard(sys.stdout, sys.stderr)
            sys.exit(BROKEN_PIPE)
        except OSError as error:
            _exit(_of_system(error))
        except Exception as error:
            _end_unforeseen(error)


def use_streams_that_work() -> None:
    """Let output that cannot be written anywhere or encoded do no harm.

    A stream that the caller closed becomes /dev/null. Otherwise the next file that is opened would
    take its number, and what libraries print would be written into that file. Characters that the
    terminal's encoding lacks are written as escapes.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            mode = "w" if number else "r"
            handle = os.open(os.devnull, os.O_RDWR)
            os.dup2(handle, number)
            if handle != number:
                os.close(handle)
            else:
                os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif number and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _exit(text: str) -> NoReturn:
    sys.exit(escaped(f"error: {text}"))


def _of_system(error: OSError) -> str:
    """Return what the system refused: the files, the reason, and what it means for results."""
    reason = " ".join((error.strerror or str(error) or type(error).__name__).split())
    files = [os.fsdecode(name) for name in (error.filename, error.filename2) if _is_path(name)]
    if not files and _output_fails():
        _discard(sys.stdout)
        return f"the output cannot be written: {reason}"
    return f"{': '.join([' -> '.join(files), reason] if files else [reason])}; nothing was replaced"


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes) and bool(name)


def _output_fails() -> bool:
    """Return whether stdout refuses text; Python says so only once for each text."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _end_unforeseen(error: Exception) -> NoReturn:
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    if _has(_KILLED_WORKER, names, text):
        _exit(KILLED_WORKER)
    if isinstance(error, MemoryError) or _has(_NO_MEMORY, names, text):
        reason = f" ({' '.join(text.split())})" if text else ""
        _exit(
            f"memory ran out{reason}; nothing was replaced. End other programs, or choose "
            "smaller images or batches, and run the same command again"
        )
    traceback.print_exc()
    with suppress(OSError):
        sys.stderr.write(f"error: {REPORT}\n")
    sys.exit(BUG)


def _has(marks: tuple[str, ...], names: set[str], text: str) -> bool:
    return any(mark in names or (" " in mark and mark in text) for mark in marks)


def _discard(*streams: TextIO) -> None:
    """Discard what is left in the buffers, or Python would complain when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
