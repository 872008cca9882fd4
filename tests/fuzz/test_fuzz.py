"""Damaged files of users, damaged own files and damaged images are read, or refused in one line.

`benchmarks/reliability/fuzz.py` reads them in processes of their own, as libraries may hang or
crash on damaged files. The inputs that once failed are read first. Every input follows from its
number, so a failure here is the same on every machine.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability import fuzz
from benchmarks.reliability.fuzz import Input
from benchmarks.reliability.targets import ALLOWED, TARGETS, Target

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


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_finding_a_crash_and_a_hang_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(folder: Path) -> None:
        content = (folder / "file").read_bytes()
        if content == b"traceback":
            raise KeyError("x")
        if content == b"crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if content == b"hang":
            while True:
                pass
        if content == b"refused":
            raise ALLOWED[0]("file is damaged")

    def make(folder: Path, base: Path | None) -> None:
        folder.mkdir()
        (folder / "file").write_bytes(b"fine")

    monkeypatch.setattr(fuzz, "HANG_S", 0.5)
    target = Target(name="tiny", read=read, make=make, share=1)
    given = [
        Input(file="file", content=content)
        for content in (b"fine", b"traceback", b"crash", b"refused", b"hang", b"fine")
    ]
    lab = fuzz.Lab(folder=tmp_path / "lab")
    lab.folder.mkdir()
    (tmp_path / "work").mkdir()
    found = list(fuzz.read_all(lab, "trial", target, tmp_path / "work", given))
    assert {outcome.verdict: outcome.count for outcome in found} == {
        "traceback": 1, "killed by SIGKILL": 1, "hang": 1, "held": 3,
    }  # fmt: skip
    for outcome in found:
        assert outcome.verdict == "held" or (lab.folder / outcome.detail).is_file()
