import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from atlas.dataset.verdicts import read_verdicts
from benchmarks.killed_review import review_while_killed
from tests.atlas.workflows.review.made_run import write_run
from tests.conftest import PROJECT

MOMENTS = 3  # `python -m benchmarks.killed_review` tries 30


@pytest.mark.slow
def test_every_acknowledged_verdict_survives_kills_and_none_is_there_twice(
    tmp_path: Path,
) -> None:
    data, run = write_run(tmp_path)
    people = review_while_killed(run, data, MOMENTS)
    kept = Counter(one.token for one in read_verdicts(run / "verdicts.db").verdicts)
    acknowledged = [token for one in people for token in one.acknowledged]
    assert len(acknowledged) >= 3 * MOMENTS
    assert set(acknowledged) <= set(kept)
    assert set(kept.values()) == {1}
    # What was not acknowledged was sent again, until the last server had it.
    assert set(kept) == {token for one in people for token in one.sent}


@pytest.mark.slow
def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    data, run = write_run(tmp_path)
    words = [sys.executable, "-m", "atlas.cli", "review", "--run", run, "--data", data]
    command = subprocess.Popen(
        [*words, "--port", "0", "--no-browser"], cwd=PROJECT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert command.stdout is not None
    lines = [command.stdout.readline() for _ in range(3)]
    assert lines[0].startswith("10 pairs and the labels of 2 images can be reviewed")
    assert lines[1].startswith("open http://127.0.0.1:")
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130
    assert errors.startswith("stopped;")
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "70000"], "--port must be from 0 to 65535 (got 70000)"),
        (["--run", "nothing"], "first run  atlas find-leaks"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    tmp_path: Path, options: list[str], said: str
) -> None:
    from atlas.cli import commands

    data, _ = write_run(tmp_path)
    with pytest.raises(SystemExit) as ended:
        commands.main(["review", "--data", str(data), "--port", "0", "--no-browser", *options])
    assert said in str(ended.value)
