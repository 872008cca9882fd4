"""How long a command takes to end after Ctrl-C, at several moments of the main job's commands.

Each command is started on a drawn atlas, in a process group of its own as a terminal would, and
gets SIGINT in turn by itself and with its group. The time from the signal to the end of the process
is measured; `tests/integration/test_interruptions.py` checks what it leaves. Give the folder of
another version of the code as --tree to measure that one on the same images.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from atlas.dataset.artifacts import save_table
from benchmarks.side_by_side import about_machine

DRAWING = (
    "--identities 60 --copies 54 --novel-identities 30 --test-fields-per-identity 1 --size-px 128"
)
MOMENTS_S = (0.3, 2, 5, 9, 14)
LIMIT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A command. out: what it writes in `run`. moments_s: when it is stopped, after its start."""

    name: str
    options: str
    out: str
    moments_s: tuple[float, ...]


COMMANDS = (
    Measured(
        name="train-embedder", options="smoke --out run/embedder", out="embedder",
        moments_s=MOMENTS_S,
    ),
    Measured(
        name="build-index", options="--embedder frozen --out run/index", out="index",
        moments_s=MOMENTS_S,
    ),
    Measured(
        name="find-leaks", options="--index run/index --out run/leaks", out="leaks",
        moments_s=MOMENTS_S,
    ),
    Measured(
        name="train-classifier", options="smoke --out run/classifier", out="classifier",
        moments_s=MOMENTS_S,
    ),
)  # fmt: skip


def main(work: Path, tree: Path | None = None) -> None:
    """Measure, print a table, and write it to `work`.

    Args:
        work: A folder for the atlas and what the commands write.
        tree: The folder of the code to measure; by default this one.
    """
    code = (tree or Path(__file__).parents[1]).resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "data").exists():
        _run(code, work, ["draw-atlas", "--out", "data", *DRAWING.split()])
    rows = []
    for command in COMMANDS:
        for number, moment_s in enumerate(command.moments_s):
            group = bool(number % 2)
            _forget(work, command)
            seconds, status = stopped(code, work, _words(command), after_s=moment_s, group=group)
            rows.append((command.name, moment_s, "group" if group else "process", seconds, status))
            print(*rows[-1], flush=True)
        if command.name == "build-index":  # find-leaks asks it
            _run(code, work, _words(command))
    table = pd.DataFrame(rows, columns=["command", "after_s", "signalled", "seconds", "status"])
    save_table(work / "interruptions.csv", table)
    print(f"\n{about_machine(['torch', 'openvino'])}\n")
    for name, own in table.groupby("command", sort=False):
        took = own["seconds"].to_numpy(float)
        statuses = sorted(set(own["status"]))
        print(f"| `{name}` | {np.median(took):.2f} s | {took.max():.2f} s | {statuses} |")


def stopped(
    code: Path, work: Path, words: Sequence[str], *, after_s: float, group: bool
) -> tuple[float, int]:
    """Return the seconds from SIGINT to the end, and the exit status; NaN where it ended before."""
    process = _start(code, work, words)
    try:
        process.wait(after_s)
        return float("nan"), process.returncode
    except subprocess.TimeoutExpired:
        start = time.perf_counter()
        send = os.killpg if group else os.kill
        send(process.pid, signal.SIGINT)
        process.wait(LIMIT_S)
        return time.perf_counter() - start, process.returncode


def _words(command: Measured) -> list[str]:
    return [command.name, *command.options.split(), "--data", "data"]


def _forget(work: Path, command: Measured) -> None:
    """Remove everything but what earlier commands have left in the run folder."""
    for name in (command.out, "store"):
        shutil.rmtree(work / "run" / name, ignore_errors=True)


def _run(code: Path, work: Path, words: Sequence[str]) -> None:
    if _start(code, work, words).wait():
        sys.exit(f"{' '.join(words)} failed")


def _start(code: Path, work: Path, words: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "atlas.cli", *words],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(code)},
        stdout=subprocess.DEVNULL,
        stderr=(work / "stderr.txt").open("ab"),
        start_new_session=True,
    )


if __name__ == "__main__":
    tyro.cli(main)
