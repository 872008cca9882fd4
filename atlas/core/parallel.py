"""Work by processes: for what holds the interpreter, so that threads would wait for one another."""

import ctypes
import os
import platform
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import cv2
from joblib import Parallel, delayed

Item = TypeVar("Item")
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


# Work on many images by threads: decoding and OpenCV let go of the interpreter.


# Of those that this process may use, where the system tells.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
DECODING_THREADS = max(4, CORES)  # while some wait for the disk, others decode


def by_threads(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int = CORES
) -> list[Result]:
    """What `work` gives for each, in their order. After an error nothing more is begun."""
    # Each call of OpenCV would otherwise start threads of its own, for the same cores.
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


# Keeping freed memory for the next batch, on Linux with glibc.
#
# glibc gives large freed blocks back to the kernel at once, and every layer's output is one: the
# kernel must then clear the same pages again for each batch. Kept, ResNet50 at 256 px needed 28 %
# less CPU time and EfficientNet-Lite0 at 160 px about half. No other allocator is touched.


_M_TRIM_THRESHOLD = -1  # glibc's malloc.h
_M_MMAP_THRESHOLD = -3
_KEEP_BELOW_BYTES = 1 << 30


@cache
def keep_freed_memory() -> bool:
    """Once for a process; says whether it could."""
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(_M_MMAP_THRESHOLD, _KEEP_BELOW_BYTES)
    return bool(kept and libc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BELOW_BYTES))
