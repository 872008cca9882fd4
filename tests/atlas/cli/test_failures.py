"""A command that cannot go on says one line and ends with the status that the docs name."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PROGRAM = """
import sys
from atlas.cli.failures import errors_in_one_line, use_streams_that_work

use_streams_that_work()
with errors_in_one_line():
    {body}
"""


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("open('missing/a.txt')", "error: missing/a.txt: No such file or directory; nothing was"),
        ("open(b'missing')", "error: missing: No such file or directory; nothing was"),
        ("import os; os.rename('from', 'to')", "error: from -> to: No such file or directory; "),
        ("raise OSError('Can\\'t write\\n data')", "error: Can't write data; nothing was replaced"),
        ("raise OSError", "error: OSError; nothing was replaced"),
        ("raise MemoryError", "error: memory ran out; nothing was replaced"),
        ("import numpy; numpy.empty(1 << 50)", "error: memory ran out (Unable to allocate 8.00 P"),
        ("raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory')", "error: memory ran"),
        ("raise RuntimeError('DataLoader worker (pid 7) is killed')", "error: a worker process"),
    ],
)
def test_what_the_system_refuses_is_one_line(body: str, line: str, tmp_path: Path) -> None:
    done = python(PROGRAM.format(body=body), tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_a_killed_worker_is_one_line(tmp_path: Path) -> None:
    body = "import os; from atlas.core.parallel import by_processes; "
    body += "list(by_processes(os._exit, [(9,), (9,)], processes=True))"
    done = python(PROGRAM.format(body=body), tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("error: a worker process was killed, perhaps because memory ran")


def test_a_bug_keeps_its_traceback_and_is_called_a_bug(tmp_path: Path) -> None:
    done = python(PROGRAM.format(body="{}['x']"), tmp_path)
    assert done.returncode == 70
    assert "KeyError: 'x'" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: this is a bug of atlas; please report")


@pytest.mark.parametrize(
    "redirection", ["> /dev/full", ">&-", "2>&-", "<&- >&- 2>&-", "| head -c 1"]
)
@pytest.mark.parametrize("program", ["-m atlas.cli --help", "scripts/find.py --help"])
def test_every_kind_of_output_is_survived(redirection: str, program: str) -> None:
    status, said = shell(f"{sys.executable} {program} {redirection}", cwd=PROJECT)
    if "full" in redirection:
        assert status == 1
        assert said == "error: the output cannot be written: No space left on device\n"
    else:
        assert (status, said) == (0, "")  # the status is that of head, where it is the last


def test_a_closed_stream_is_not_given_to_the_next_file(tmp_path: Path) -> None:
    code = PROGRAM.format(body="file = open('a.txt', 'w'); print('printed'); file.write('content')")
    (tmp_path / "program.py").write_text(code)
    assert shell(f"{sys.executable} program.py >&- 2>&-", cwd=tmp_path) == (0, "")
    assert (tmp_path / "a.txt").read_text() == "content"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_characters_that_a_terminal_lacks_are_escaped(encoding: str, tmp_path: Path) -> None:
    code = PROGRAM.format(body="print('ж → é'); raise FileNotFoundError(2, 'gone', 'ж')")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(PYTHONIOENCODING=encoding),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith(b"\\u0436 \\u2192 ")
    assert done.stderr == b"error: \\u0436: gone; nothing was replaced\n"


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_signal_gives_its_status_and_one_line(number: int, tmp_path: Path) -> None:
    body = "import os, time; print('started', flush=True); time.sleep(60)"
    process = start(["-c", PROGRAM.format(body=body)], tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert said == "stopped; run the same command again to resume it (finished work is kept)\n"


def test_ctrl_c_at_any_moment_after_the_start_gives_no_traceback(tmp_path: Path) -> None:
    """Also while Python has not yet loaded the command, and after it has ended."""
    rng, statuses = random.Random(0), set()
    for _ in range(12):
        process = start(["-X", "importtime", "-m", "atlas.cli", "lookup", "--help"], tmp_path)
        assert process.stderr is not None
        said = "".join(until(process.stderr, "atlas.cli"))  # before that, Python itself is loaded
        time.sleep(rng.uniform(0, 0.6))
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=60)[1]
        statuses.add(process.returncode)
        assert "Traceback" not in said
        assert "Exception ignored" not in said
    assert statuses <= {0, 130, -signal.SIGINT}
    assert statuses & {130, -signal.SIGINT}


def until(lines: Iterable[str], word: str) -> list[str]:
    read = []
    for line in lines:
        read.append(line)
        if re.search(rf"\| +{word}$", line):
            break
    return read


def start(words: Sequence[str], cwd: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def python(code: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def shell(command: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run(
        command, shell=True, cwd=cwd, env=environment(), stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT), **more}
