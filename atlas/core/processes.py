"""Functions that start other processes and stop them together with this one."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

STOPPED_BY_PARENT = "ATLAS_STOPPED_BY_PARENT"  # is set for a command that another command starts
STOPPING_S = 1.1  # a command that is asked to stop ends within this time


def run_command(command: Sequence[str]) -> int:
    """Run a command of this project until it ends, and return its exit status.

    If this process is stopped, it stops the command too. The command then ends cleanly and prints
    nothing about it.
    """
    import subprocess  # imported late, because every command must load this module quickly

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
    """Start processes inside this block, and they ignore Ctrl-C, which a terminal sends to all.

    The process that started them stops them. With `joblib.Parallel`, put the call with
    `return_as="generator"` inside the block, because it returns as soon as the processes are
    started.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
