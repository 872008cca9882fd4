"""The check for machines with a GPU: every part of it at a tiny size, and parts that go wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.core.timing import Span
from atlas.training.loaders import LOADING, LOADING_HELD_OUT
from benchmarks.gpu.__main__ import PARTS, run_all
from benchmarks.gpu.correctness import nearest_agreement
from benchmarks.gpu.part import ROOT, Finding, Part
from benchmarks.gpu.report import markdown, summary
from benchmarks.gpu.training import step_rate, stopped_after
from benchmarks.gpu.vectors import named
from tests.benchmarks.gpu_parts import CHILD_FILE

# A busy machine may take minutes for what takes seconds; nothing here depends on how long it takes.
PATIENCE_SECONDS = 1800
CUT_OFF = """
from pathlib import Path
from benchmarks.gpu.__main__ import run_all
from benchmarks.gpu.part import Part
parts = [Part(name=n, run=f"tests.benchmarks.gpu_parts:{n}", share=1) for n in ("fine", "hanging")]
run_all(parts, Path("OUT"), seconds=1200, tiny=True)
"""


def read_report(out: Path) -> tuple[dict[str, Any], str]:
    return json.loads((out / "report.json").read_text()), (out / "report.md").read_text()


def is_alive(pid: int) -> bool:
    """Not as a zombie that nobody has waited for."""
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.2)


@pytest.mark.slow
def test_every_part_reports_at_a_tiny_size(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path), "--tiny",
         "--seconds", str(PATIENCE_SECONDS)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    logs = "".join(path.read_text()[-2000:] for path in (tmp_path / "parts").glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    report, text = read_report(tmp_path)
    assert list(report["parts"]) == sorted(PARTS)
    assert report["tiny"] is True
    assert "say nothing about a GPU" in text
    *lines, last = done.stdout.splitlines()[-len(PARTS) - 1 :]
    for name, line in zip(PARTS, lines, strict=True):
        found = report["parts"][name]
        assert line.startswith(f"{name}: passed after ")
        assert f"| {name} | passed |" in text
        assert found["figures"]
        assert all(check["passed"] for check in found["checks"].values())
    assert last == f"report: {tmp_path / 'report.md'} and {tmp_path / 'report.json'}"
    assert len(report["parts"]["correctness"]["checks"]) == 7
    assert (tmp_path / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_that_goes_wrong_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    shares = {"fine": 10.0, "wrong": 10.0, "hanging": 1.0, "crashing": 10.0, "dying": 10.0}
    parts = [
        Part(name=name, run=f"tests.benchmarks.gpu_parts:{name}", share=share)
        for name, share in {**shares, "missing": 10.0}.items()
    ]
    found = run_all(parts, tmp_path, seconds=450, tiny=True)
    assert {name: finding.state for name, finding in found.items()} == {
        "fine": "passed", "wrong": "failed", "hanging": "stopped at its limit",
        "crashing": "failed", "dying": "failed", "missing": "failed",
    }  # fmt: skip
    assert found["wrong"].error == "does not hold: claims"
    assert found["crashing"].error == "RuntimeError: CUDA error: out of memory"
    assert found["dying"].error == "ended with status 9 the last line"
    assert "missing" in found["missing"].error
    for name, images in (("crashing", 3), ("dying", 4), ("hanging", 5)):
        assert found[name].figures == {"before": {"images": images}}
    child = int((tmp_path / CHILD_FILE).read_text())
    wait_until(lambda: not is_alive(child))
    report, text = read_report(tmp_path)
    assert {name: part["state"] for name, part in report["parts"].items()} == {
        name: finding.state for name, finding in found.items()
    }
    assert "| claims | DOES NOT HOLD | 1 of 8 / differs |" in text
    assert "| images_per_s | 1,234 |" in text


def test_a_run_that_is_cut_off_leaves_a_report(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", CUT_OFF.replace("OUT", str(tmp_path))], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    child_file = tmp_path / CHILD_FILE
    wait_until(lambda: child_file.exists() and child_file.read_text() != "")
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    report, text = read_report(tmp_path)
    assert report["parts"]["fine"]["state"] == "passed"
    assert report["parts"]["hanging"]["state"] == "running"
    assert "| fine | passed |" in text
    wait_until(lambda: not is_alive(int(child_file.read_text())))  # nobody else would stop it


def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path / "out")], cwd=ROOT,
        capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: torch finds no GPU here; --tiny runs the check at a small size on the CPU"
    ]
    assert not (tmp_path / "out").exists()


def test_a_report_names_what_has_not_run() -> None:
    findings = [
        Finding(name="search", state="passed", seconds=2.0, figures={"a": {"b": 0.12345}}),
        Finding(name="training"),
    ]
    text = markdown("A machine.", findings, tiny=False)
    assert "| training | waiting | 0.0 | 0 | 0.0 |" in text
    assert "## training" not in text
    assert "| b | 0.123 |" in text
    assert "tiny" not in text
    assert summary(findings, Path("R")).splitlines()[0] == "search: passed after 2.0 s"


def test_nearest_neighbours_agree_but_for_ties() -> None:
    """Two pairs of neighbours; in the other set one image has moved to the other pair."""
    angles = np.array([0.0, 0.1, 1.0, 1.1])
    here = named("v", unit_vectors(angles))
    assert nearest_agreement(here, here) == 1.0
    assert nearest_agreement(here, named("v", unit_vectors(angles + 1e-6))) == 1.0
    moved = named("v", unit_vectors(np.array([0.0, 0.9, 1.0, 1.1])))
    assert nearest_agreement(moved, here) == 0.5
    tied = named("v", unit_vectors(np.array([0.0, 0.1, 0.2 + 1e-6, 0.3])))
    assert nearest_agreement(named("v", unit_vectors(np.array([0.0, 0.1, 0.2, 0.3]))), tied) == 1.0


def unit_vectors(angles_N: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles_N), np.sin(angles_N)], axis=1).astype(np.float32)


def sleep_in_steps(seconds: int) -> None:
    """Sleep so that a signal is noticed, also if another thread of this process gets it."""
    for _ in range(10 * seconds):
        time.sleep(0.1)


def test_what_takes_too_long_is_stopped_and_nothing_after_it() -> None:
    with pytest.raises(KeyboardInterrupt), stopped_after(0.01):
        sleep_in_steps(600)
    with stopped_after(0.05):
        pass
    time.sleep(0.1)


def test_the_rate_of_steps_leaves_out_validation_and_the_first_epoch() -> None:
    """Steps of 1 s in the first epoch and of 0.5 s in the two others, 8 images each."""
    spans, now = [], 0.0
    for seconds in (1.0, 0.5, 0.5):
        for _ in range(4):
            spans.append(Span(LOADING, now, now + 0.1, 8))
            now += seconds
        spans.append(Span(LOADING_HELD_OUT, now, now + 5.0, 8))
        now += 9.0
    assert step_rate(spans) == pytest.approx(16.0)
    assert step_rate(spans[:5]) == pytest.approx(8.0)
