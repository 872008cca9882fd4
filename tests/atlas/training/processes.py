"""Real processes for tests.

They start in moments, because they are forked from one that has imported everything.
"""

import multiprocessing
import tempfile
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from atlas.training import loop as engine_training
from atlas.training.loaders import EpochBatches, Place
from atlas.training.settings import TrainingSettings
from tests.atlas.training.made import train_tiny

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload([__name__])
LIMIT_S = 120


def start_training(folder: Path, training: TrainingSettings) -> BaseProcess:
    process = FORKED.Process(target=train_tiny, args=(folder, training))
    process.start()
    return process


def finished(process: BaseProcess) -> int | None:
    """Wait for a process, and return its exit code."""
    process.join(LIMIT_S)
    code = process.exitcode
    process.kill()
    return code


def train_with_two_processes(folder: Path, training: TrainingSettings) -> int | None:
    """Run `made.train_tiny` on two CPU processes, and return the exit code."""
    process = FORKED.Process(target=_train_forking, args=(folder, replace(training, devices=2)))
    process.start()
    return finished(process)


def epoch_batches_of_two_processes(
    targets: torch.Tensor, training: TrainingSettings, *, epoch: int
) -> list[list[list[Place]]]:
    """Return the batches of each of two processes that train together."""
    given: Any = FORKED.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            FORKED.Process(
                target=_put_batches,
                args=(f"{folder}/meeting_place", rank, targets.numpy(), training, epoch, given),
            )
            for rank in range(2)
        ]
        for process in processes:
            process.start()
        by_rank = dict(given.get(timeout=LIMIT_S) for _ in processes)
        assert [finished(process) for process in processes] == [0, 0]
    return [by_rank[0], by_rank[1]]


def _put_batches(
    meeting_place: str, rank: int, targets: Any, training: TrainingSettings, epoch: int, given: Any
) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting_place}", rank=rank, world_size=2
    )
    batches = EpochBatches(torch.from_numpy(targets), training)
    batches.start(epoch)
    given.put((rank, list(batches)))
    distributed.destroy_process_group()


def _train_forking(folder: Path, training: TrainingSettings) -> None:
    """Train with forked processes. Lightning would spawn them, which imports everything again."""
    spawning = engine_training._strategy(training)
    engine_training._strategy = lambda _: spawning.replace("spawn", "fork")
    train_tiny(folder, training)
