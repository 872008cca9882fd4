"""Runs that are killed, in processes of their own."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atlas.training.loop import epochs_done
from tests.atlas.training.made import TRAINING
from tests.atlas.training.processes import LIMIT_S, finished, start_training
from tests.atlas.training.test_loop import assert_equal_runs

KILLS = 10


def seconds_of_training(folder: Path, training) -> float:
    """Return the duration of a whole run, from its first checkpoint on."""
    process = start_training(folder, training)
    start = first_checkpoint(folder)
    assert finished(process) == 0
    return time.monotonic() - start


def first_checkpoint(folder: Path) -> float:
    """Return the time at which the first checkpoint exists."""
    path, limit = folder / "run" / "checkpoints" / "last.ckpt", time.monotonic() + LIMIT_S
    while not path.exists():
        assert time.monotonic() < limit
        time.sleep(0.001)
    return time.monotonic()


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    settings = [
        replace(
            TRAINING,
            epochs=2,
            schedule="cosine",
            warmup_epochs=0.5,
            accumulate_batches=batches,
            **averaged,
        )
        for batches, averaged in ((1, {"averaged_checkpoints": 2}), (2, {"ema_decay": 0.7}))
    ]
    whole_s = [seconds_of_training(tmp_path / f"whole{n}", s) for n, s in enumerate(settings)]
    epochs_at_kill = []
    for kill in range(KILLS):
        folder, training = tmp_path / f"killed{kill}", settings[kill % 2]
        process = start_training(folder, training)
        first_checkpoint(folder)
        time.sleep(rng.uniform(0, whole_s[kill % 2]))
        process.kill()
        finished(process)
        epochs_at_kill.append(epochs_done(folder / "run" / "checkpoints" / "last.ckpt"))
        assert finished(start_training(folder, training)) == 0
        assert_equal_runs(tmp_path / f"whole{kill % 2}", folder)
    assert min(epochs_at_kill) < training.epochs  # at least one kill came before the end
