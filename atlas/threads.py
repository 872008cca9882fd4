"""Work on many images by threads: decoding and OpenCV let go of the interpreter."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

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
