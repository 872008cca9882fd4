"""Two commands never write one result at a time, and no file that is left behind blocks a third."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atlas.core.errors import UserError
from atlas.core.locks import locked, locks_for_children, writes

PROJECT = Path(__file__).parents[3]
HOLD = """
import sys
from pathlib import Path
from atlas.core.locks import locked

with locked(Path(sys.argv[1]), command="atlas build-index"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "index") as process:
        with pytest.raises(UserError) as refused, locked(tmp_path / "index", command="x"):
            pass
        text = str(refused.value)
        assert f"{tmp_path / 'index'} is being written by process {process.pid} on " in text
        assert "(atlas build-index); wait until it ends" in text
        with locked(tmp_path / "leaks", command="x"):
            pass
    with locked(tmp_path / "index", command="x"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_result_has_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "link").symlink_to("index")
    with held_elsewhere(tmp_path / "link"), pytest.raises(UserError, match="is being written"):
        locked(tmp_path / "sub" / ".." / "index", command="x").__enter__()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_file_of_a_killed_process_does_not_block(tmp_path: Path, number: int) -> None:
    with held_elsewhere(tmp_path / "index") as process:
        process.send_signal(number)
        process.wait(60)
    assert (tmp_path / ".index.lock").exists()
    with locked(tmp_path / "index", command="x"):
        described = json.loads((tmp_path / ".index.lock").read_text())
        assert (described["pid"], described["command"]) == (os.getpid(), "x")
    assert not (tmp_path / ".index.lock").exists()


def test_a_thread_may_lock_again_but_another_thread_may_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with locked(tmp_path / "index", command="x"):
                pass
        except UserError as error:
            refused.append(str(error))

    with locked(tmp_path / "index", command="x"):
        with locked(tmp_path / "index", command="y"):
            pass
        run_thread(other)
        assert str(os.getpid()) in refused.pop()
    run_thread(other)
    assert not refused


def test_a_command_that_this_one_starts_may_write_what_it_has_locked(tmp_path: Path) -> None:
    with locked(tmp_path / "run", command="atlas run"):
        with held_elsewhere(tmp_path / "run", **locks_for_children()):
            pass
        assert (tmp_path / ".run.lock").exists()
        other = start(tmp_path / "run")
        assert "is being written" in other.communicate(timeout=60)[1]


def test_a_forked_process_does_not_prolong_the_lock(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with locked(tmp_path / "index", command="x"):
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    os.close(reader)
    with held_elsewhere(tmp_path / "index"):
        pass
    os.close(writer)
    os.waitpid(child, 0)


def test_many_processes_never_hold_the_lock_together(tmp_path: Path) -> None:
    """Each of them takes and removes the lock file thirty times."""
    code = """
import os, sys
from pathlib import Path
from atlas.core.errors import UserError
from atlas.core.locks import locked

inside, taken = Path(sys.argv[1] + ".inside"), 0
while taken < 30:
    try:
        with locked(Path(sys.argv[1]), command="x"):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if another one is inside
            os.unlink(inside)
            taken += 1
    except UserError:
        pass
"""
    processes = [start(tmp_path / "deep" / "index", code) for _ in range(2)]
    (tmp_path / "deep").mkdir(exist_ok=True)
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said


def test_parents_that_the_lock_made_are_removed_unless_they_hold_the_result(tmp_path: Path) -> None:
    with locked(tmp_path / "runs" / "new" / "index", command="x"):
        pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "runs" / "new" / "index", command="x"):
        (tmp_path / "runs" / "new" / "index").mkdir()
    assert (tmp_path / "runs" / "new" / "index").is_dir()


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("content")
    (tmp_path / ".index.lock").symlink_to("precious")
    with pytest.raises(OSError), locked(tmp_path / "index", command="x"):  # noqa: PT011
        pass
    assert (tmp_path / "precious").read_text() == "content"


def test_a_folder_that_cannot_be_made_is_an_error_and_no_endless_loop() -> None:
    for result in (Path("/proc/missing/index"), Path("/proc/missing")):
        with pytest.raises(OSError, match="missing"), locked(result, command="x"):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks_give_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "index", command="x"):
        (tmp_path / "index").mkdir()
    assert "cannot be locked" in caplog.text


def test_the_decorator_locks_the_argument_that_it_names(tmp_path: Path) -> None:
    @writes("out")
    def build_index(data: str, out: str | Path = tmp_path / "index", *, k: int = 1) -> int:
        """Document."""
        lock = json.loads((tmp_path / f".{Path(out).name}.lock").read_text())
        assert lock["command"] == "atlas build-index"
        return k

    assert build_index("data") == 1
    assert build_index("data", str(tmp_path / "other"), k=2) == 2
    assert build_index("data", out=tmp_path / "third", k=3) == 3
    assert build_index.__doc__ == "Document."
    with pytest.raises(TypeError, match="missing a required argument: 'data'"):
        build_index()  # type: ignore[call-arg]


@contextmanager
def held_elsewhere(folder: Path, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process holds the lock on the folder."""
    process = start(folder, **environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    try:
        yield process
    finally:
        process.communicate(timeout=60)


def start(folder: Path, code: str = HOLD, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
