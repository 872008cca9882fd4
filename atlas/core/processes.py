"""Functions that start other processes and stop them together with this one."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from atlas.core.errors import UserError
from atlas.core.locks import locks_for_children
from atlas.core.shared_memory import will_be_swept

STOPPED_BY_PARENT = "ATLAS_STOPPED_BY_PARENT"  # the pid of the command that started this one
STOPPING_S = 1.1  # a command that is asked to stop ends within this time
LOOKS_EVERY_S = 0.5


def run_command(command: Sequence[str]) -> int:
    """Run a command of this project until it ends, and return its exit status.

    If this process is stopped, it stops the command too. The command then ends cleanly and prints
    nothing about it. If this process is killed, the command stops itself; see `end_with`. The
    command may write the results that this process has locked.

    Raises:
        UserError: The command was ended by a signal, so it could not say why.
    """
    import subprocess  # imported late, because every command must load this module quickly

    stopped_by = {STOPPED_BY_PARENT: str(os.getpid())}
    process = subprocess.Popen(command, env={**os.environ, **stopped_by, **locks_for_children()})
    try:
        status = process.wait()
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOPPING_S)
        process.kill()
        raise
    if status < 0:
        raise UserError(
            f"the command above was ended by signal {-status}, perhaps because memory ran out; run "
            "the same command again to resume it"
        )
    return status


@contextmanager
def starting_workers() -> Iterator[None]:
    """Start processes inside this block, and they ignore what a terminal sends to all processes.

    These are Ctrl-C and the signal of a terminal that is closed. The process that started the
    workers stops them. With `joblib.Parallel`, put the call with `return_as="generator"` inside the
    block, because it returns as soon as the processes are started, and give it `worker_options`.
    """
    will_be_swept()
    # A worker that has no task for a while, or has grown, is replaced while others work. The thread
    # that replaces it ends, and the caller waits for ever, where warnings are errors.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs")
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def worker_options() -> dict[str, Any]:
    """Return arguments of `joblib.Parallel` with which workers end soon after this process."""
    return {"initializer": end_with, "initargs": (os.getpid(), signal.SIGKILL)}


def end_with(parent: int, number: int) -> None:
    """End this process soon after the process that started it, even if that one is killed.

    A thread looks for the parent twice a second. The kernel could do the same (PR_SET_PDEATHSIG on
    Linux), but it takes the end of the thread that started this process for the end of the parent,
    and a pool of workers outlives the threads that use it.

    Args:
        parent: The process that started this one.
        number: The signal that this process sends to itself.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOKS_EVERY_S)
        os.kill(os.getpid(), number)

    threading.Thread(target=watch, name="parent", daemon=True).start()
