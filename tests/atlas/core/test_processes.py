"""Processes and shared memory do not outlive the process that started them, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlas.core.errors import UserError
from atlas.core.lock_file import LockFile
from atlas.core.processes import run_command
from atlas.core.shared_memory import sweep

PROJECT = Path(__file__).parents[3]
LIMIT_S = 60.0
# Each command writes its pid into a file and waits; the runner waits for the command.
WAITING = """
import os, sys, time
from pathlib import Path
from atlas.cli.failures import errors_in_one_line

with errors_in_one_line():
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(600)
"""
RUNNING = """
import sys
from pathlib import Path
from atlas.cli.failures import errors_in_one_line
from atlas.core.locks import locked
from atlas.core.processes import run_command

with errors_in_one_line(), locked(Path("run"), command="atlas run"):
    run_command([sys.executable, "waiting.py", "pid"])
"""
WORKING = """
import os, time
import numpy as np
from atlas.core import parallel

def work(number, array):
    with open(f"pid{number}", "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)

parallel.CORES = 2
array = np.zeros(1 << 20)
list(parallel.by_processes(work, [(0, array), (1, array)], processes=True))
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name
)
def test_a_stage_ends_with_its_run(number: int, tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    runner = start(RUNNING, tmp_path)
    stage = number_in(tmp_path / "pid")
    runner.send_signal(number)
    runner.wait(LIMIT_S)
    assert has_ended(stage)
    left = {".run.lock"} if number == signal.SIGKILL else set()
    assert {path.name for path in tmp_path.iterdir()} == {"waiting.py", "pid", "said"} | left
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    assert said.count("stopped") == (number != signal.SIGKILL)


def test_a_killed_command_is_one_line() -> None:
    kills_itself = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    with pytest.raises(UserError, match="was ended by signal 9, perhaps because memory ran out"):
        run_command(kills_itself)
    assert run_command([sys.executable, "-c", "raise SystemExit(3)"]) == 3


@pytest.mark.parametrize("group", [False, True])
def test_workers_and_their_memory_end_with_the_process(group: bool, tmp_path: Path) -> None:
    process = start(WORKING, tmp_path)
    workers = [number_in(tmp_path / f"pid{n}") for n in (0, 1)]
    assert in_shared_memory(process.pid)
    (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    process.wait(LIMIT_S)
    assert all(map(has_ended, workers))
    until = time.monotonic() + LIMIT_S
    while in_shared_memory(process.pid) and time.monotonic() < until:
        sweep()
        time.sleep(0.1)
    assert not in_shared_memory(process.pid)


def test_only_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(LIMIT_S)
    dead, living = ended.pid, os.getpid()
    names = "joblib_memmapping_folder_{}_1", "sem.loky-{}-1", "torch_{}_1"
    for pid in (dead, living):
        (tmp_path / f".atlas-{pid}-00.lock").touch()
        for name in names:
            (tmp_path / name.format(pid)).mkdir()
    (tmp_path / f"joblib_memmapping_folder_{dead}_1" / "array.pkl").touch()
    (tmp_path / f"joblib_memmapping_folder_{dead}1_1").mkdir()  # another process, with no lock
    sweep(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        f".atlas-{living}-00.lock", f"joblib_memmapping_folder_{dead}1_1",
        *(name.format(living) for name in names),
    }  # fmt: skip


def test_nothing_is_removed_while_a_process_with_that_number_runs_elsewhere(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(LIMIT_S)
    memory = tmp_path / f"joblib_memmapping_folder_{ended.pid}_1"
    memory.mkdir()
    (tmp_path / f".atlas-{ended.pid}-00.lock").touch()
    held = LockFile.take(tmp_path / f".atlas-{ended.pid}-01.lock")  # as if in another container
    assert held is not None
    sweep(tmp_path)
    assert memory.exists()
    held.release()


def start(code: str, cwd: Path) -> "subprocess.Popen[bytes]":
    with (cwd / "said").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stderr=said,
            start_new_session=True,
        )


def number_in(file: Path) -> int:
    """The number in a file, as soon as another process has written it."""
    until = time.monotonic() + LIMIT_S
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return int(file.read_text())


def has_ended(pid: int) -> bool:
    """Whether the process ends in time; one that nobody has waited for yet has ended, too."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def in_shared_memory(pid: int) -> list[Path]:
    return [
        path
        for path in Path("/dev/shm").iterdir()
        if f"-{pid}-" in path.name or f"_{pid}_" in path.name
    ]
