"""The library that counts the calls that change names of files, and kills at one of them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
LOADED = "LD_PRELOAD"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that was counted: its number from 1, its name, and the path that it changed."""

    number: int
    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Sync:
    """A call of fsync: the number of the file, and when it ended in nanoseconds."""

    inode: int
    at_ns: int


def load(folder: Path) -> None:
    """Start this process anew with the library, which must be there before any other.

    Nothing happens without a C compiler, or if it is loaded already.
    """
    library = folder / "shim.so"
    if str(library) in os.environ.get(LOADED, "") or not shutil.which("cc"):
        return
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    os.environ[LOADED] = f"{library} {os.environ.get(LOADED, '')}".strip()
    spec = sys.modules["__main__"].__spec__
    name = spec.name.removesuffix(".__main__") if spec else "benchmarks.reliability"
    os.execv(sys.executable, [sys.executable, "-m", name, *sys.argv[1:]])


def is_loaded() -> bool:
    """Return whether this process and its forks are watched."""
    return "shim.so" in os.environ.get(LOADED, "")


def watch(
    under: Path, log: Path, *, kill: int | None = None, when: str = "before"
) -> Callable[[], None]:
    """Return a function that starts the watch in the process that calls it.

    Args:
        under: The folder whose calls count.
        log: The file to which calls are appended. It is removed first.
        kill: The number of the call at which the process is killed.
        when: Whether that is "before" or "after" the call.
    """
    log.unlink(missing_ok=True)

    def begin() -> None:
        os.environ["SHIM_UNDER"] = str(under)
        os.environ["SHIM_LOG"] = str(log)
        os.environ["SHIM_WHEN"] = when
        if kill is not None:
            os.environ["SHIM_KILL"] = str(kill)
        os.environ["SHIM_PID"] = str(os.getpid())

    return begin


def read_log(log: Path) -> tuple[list[Call], list[Sync]]:
    """Return the calls and the syncs of a log."""
    calls, syncs = [], []
    lines = log.read_text(errors="surrogateescape").splitlines() if log.exists() else []
    for line in lines:
        number, name, said = line.split("\t", 2)
        if name == "fsync":
            inode, at = said.split()
            syncs.append(Sync(inode=int(inode), at_ns=int(at)))
        else:
            calls.append(Call(number=int(number), name=name, path=said))
    return calls, syncs
