"""Commands that start at once: forks of a process that has already imported all they need.

A command of the product needs two to seven seconds to import its libraries. This process imports
them once, without computing anything, and forks for each command. The fork has its own session, its
own environment and its own standard streams, and runs the same `main` as `atlas` does.
"""

import atexit
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.005
LIMIT_S = 120.0
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        pid: The process.
        status: The exit status, or the negative number of the signal that ended it.
        out: What it printed on standard output.
        err: What it printed on standard error.
        seconds: How long it ran.
        hung: Whether it was killed because it did not end within its limit.
        peak_bytes: The most memory that the process held.
    """

    pid: int
    status: int
    out: str
    err: str
    seconds: float
    hung: bool = False
    peak_bytes: int = 0

    @property
    def last_line(self) -> str:
        """The last line of standard error that says something, or ""."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    @property
    def fault(self) -> str:
        """The class of a way in which no command may end, or "" if it ended properly."""
        if self.hung:
            return "hang"
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        if TRACEBACK in self.err or TRACEBACK in self.out:
            return "traceback"
        return "" if self.status in (0, 1, 2) else f"exit status {self.status}"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A command that was started: its process, which leads a session, and its output."""

    pid: int
    logs: Path
    began: float


def preload(modules: Sequence[str]) -> None:
    """Import modules, so that forks need not; those that cannot be imported alone are left out."""
    for name in modules:
        if name not in sys.modules and not name.startswith(("benchmarks", "tests", "__")):
            with suppress(Exception):
                importlib.import_module(name)


def start(
    words: Sequence[str],
    folder: Path,
    *,
    logs: Path,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] = lambda: None,
    modules: Path | None = None,
) -> Running:
    """Start a command in a fork.

    Args:
        words: The words that follow `atlas`.
        folder: The folder in which the command runs.
        logs: The folder of the files that hold its output.
        environment: Variables that are set for it.
        prepare: A function that is called in the fork before the command.
        modules: A file to which the fork appends the names of the modules that it has imported.
    """
    logs.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(words, folder, logs, environment or {}, prepare, modules)
    return Running(pid=pid, logs=logs, began=time.monotonic())


def finish(
    running: Running, *, limit_s: float = LIMIT_S, kill_after_s: float | None = None
) -> Ended:
    """Wait for a command, or kill it at a moment after its start, and return how it ended.

    Its other processes are left alone; `end_session` ends them.
    """
    limit = limit_s if kill_after_s is None else kill_after_s
    status, hung = None, False
    while status is None:
        pid, code, usage = os.wait4(running.pid, os.WNOHANG)
        if pid:
            status = os.waitstatus_to_exitcode(code)
        elif time.monotonic() - running.began > limit:
            hung = kill_after_s is None
            os.kill(running.pid, signal.SIGKILL)
            limit = float("inf")
        else:
            time.sleep(POLL_S)
    out, err = (
        (running.logs / name).read_text(encoding="utf-8", errors="replace")
        for name in ("out.txt", "err.txt")
    )
    return Ended(
        pid=running.pid, status=status, out=out, err=err, hung=hung,
        seconds=time.monotonic() - running.began, peak_bytes=usage.ru_maxrss * 1024,
    )  # fmt: skip


def end_session(running: Running) -> None:
    """End what a command that has ended left running."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)


def run(
    words: Sequence[str],
    folder: Path,
    *,
    logs: Path,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] = lambda: None,
    modules: Path | None = None,
    limit_s: float = LIMIT_S,
    kill_after_s: float | None = None,
) -> Ended:
    """Run a command in a fork to its end, see `start` and `finish`."""
    running = start(
        words, folder, logs=logs, environment=environment, prepare=prepare, modules=modules
    )
    try:
        return finish(running, limit_s=limit_s, kill_after_s=kill_after_s)
    finally:
        end_session(running)


def _become(
    words: Sequence[str],
    folder: Path,
    logs: Path,
    environment: Mapping[str, str],
    prepare: Callable[[], None],
    modules: Path | None,
) -> None:
    """Run the command in this fork and end the process as the interpreter would."""
    status = 1
    try:
        os.setsid()
        for name, descriptor in (("out.txt", 1), ("err.txt", 2)):
            opened = os.open(logs / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        os.environ.update(environment)
        sys.argv = ["atlas", *words]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare()
        status = _status_of_main()
        if modules:
            with modules.open("a", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in sorted(sys.modules))
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end
        with suppress(BaseException):
            atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _status_of_main() -> int:
    """Run `main` and return the exit status that its end stands for."""
    from atlas.cli.__main__ import main

    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
