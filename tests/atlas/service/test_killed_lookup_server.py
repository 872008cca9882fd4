import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from atlas.core.errors import UserError
from atlas.workflows.runs.update import update
from benchmarks.killed_server import Kept, add_while_killed, kept_images
from benchmarks.serving import served_run
from tests.atlas.workflows.serve.made_service import write_served_run
from tests.conftest import PROJECT

MOMENTS = 2  # `python -m benchmarks.killed_server` tries 30


@pytest.mark.slow
def test_every_acknowledged_image_survives_kills_and_none_is_there_twice(tmp_path: Path) -> None:
    _, run = write_served_run(tmp_path)
    clients = add_while_killed(run, MOMENTS, longest_s=0.5)
    kept = kept_images(run, clients)
    assert kept.acknowledged >= MOMENTS
    assert kept == Kept(kept.acknowledged, [], [], [], [])


@pytest.mark.slow
def test_a_served_run_is_not_updated_and_sigterm_ends_the_service(tmp_path: Path) -> None:
    data, run = write_served_run(tmp_path)
    with served_run(run) as server:
        assert httpx.get(f"{server.address}healthz").json() == {"status": "ok"}
        with pytest.raises(UserError, match=r"is being written by .* \(atlas serve\)"):
            update(data, run)
        second = subprocess.run(
            [sys.executable, "-m", "atlas.cli", "serve", "--run", run, "--port", "0"], cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert "is being written by" in second.stderr
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 143
    assert not list(run.glob(".uploads.*"))
    with pytest.raises(UserError, match=r"leaks/contents\.json is missing"):
        update(data, run)  # which the hand-made calibration stops, and no lock
