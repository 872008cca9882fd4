"""Processes that are started by this one, and how they are stopped with it."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

STOPPED_BY_PARENT = "ATLAS_STOPPED_BY_PARENT"  # set for commands that a command starts
STOPPING_S = 1.1  # a command that is reported to stop has ended by then


def run_command(command: Sequence[str]) -> int:
    """Run a command of this project to its end, and return its exit status.

    Where this process is stopped, the command is stopped too, as cleanly, and says nothing of it.
    """
    import subprocess  # only here: every command loads this module before it can be stopped

    process = subprocess.Popen(command, env={**os.environ, STOPPED_BY_PARENT: "1"})
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOPPING_S)
        process.kill()
        raise


@contextmanager
def workers_ignore_interrupts() -> Iterator[None]:
    """Around the start of processes: they do not see Ctrl-C, which the terminal sends to all.

    The process that started them ends them. Of `joblib.Parallel` it is the call with
    `return_as="generator"`, which returns as soon as they are started.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
