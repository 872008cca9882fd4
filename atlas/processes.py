"""Work by processes: for what holds the interpreter, so that threads would wait for one another."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import cv2
from joblib import Parallel, delayed

from atlas.memory import keep_freed_memory
from atlas.threads import CORES

Result = TypeVar("Result")
IDLE_SECONDS = 15


def in_parallel(
    work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], *, processes: bool
) -> list[Result]:
    """What `work(*task)` gives for each, in their order.

    processes: whether the tasks are worth starting some, which takes a second; they stay for the
    next call, and end by themselves when none comes, as when this process was killed. An array of
    more than 1 MB is shared with them through memory, and cannot be written.
    """
    parallel = Parallel(
        n_jobs=CORES if processes else 1, mmap_mode="r", idle_worker_timeout=IDLE_SECONDS
    )
    return list(parallel(delayed(_alone)(work, task) for task in tasks))


def _alone(work: Callable[..., Result], task: tuple[Any, ...]) -> Result:
    """On one core: OpenCV would otherwise start threads of its own, for the same cores."""
    cv2.setNumThreads(1)
    keep_freed_memory()
    return work(*task)
