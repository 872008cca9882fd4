"""Damaged files of users, damaged own files and damaged images are read, or refused in one line.

`benchmarks/reliability/fuzz.py` reads them in processes of their own, as libraries may hang or
crash on damaged files. The inputs that once failed are read first. Every input follows from its
number, so a failure here is the same on every machine.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability import fuzz
from benchmarks.reliability.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
INPUTS = 6_000
LIMIT_S = 300


@pytest.mark.fuzz
def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.reliability.fuzz", "--out", str(tmp_path)]
    ended = subprocess.run(
        [*command, "--count", str(INPUTS), "--jobs", "2"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=LIMIT_S, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_undamaged_files_of_each_target_are_read(target: Target, tmp_path: Path) -> None:
    target.make(tmp_path / "seeds", None)
    target.read(tmp_path / "seeds")


def test_inputs_follow_from_their_number() -> None:
    seeds = {"a.csv": b"Id,Target\na,1\n", "b.csv": b"Id,Group\na,1\n"}
    target = TARGETS["data"]
    inputs = [fuzz.input_of(target, seeds, number) for number in range(50)]
    assert inputs == [fuzz.input_of(target, seeds, number) for number in range(50)]
    changed = [one for one in inputs if one.content != seeds[one.file]]
    assert len(changed) > 40


def test_a_finding_a_crash_and_a_hang_are_noticed(tmp_path: Path) -> None:
    """In a process of its own, which is small and has no threads, as it is forked."""
    command = [sys.executable, "-m", "tests.fuzz.noticed", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=LIMIT_S,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert {verdict: count for verdict, count, _ in found} == {
        "traceback": 1, "killed by SIGKILL": 1, "hang": 1, "held": 3,
    }  # fmt: skip
    for verdict, _, file in found:
        assert verdict == "held" or Path(file).is_file()
