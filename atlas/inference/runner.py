"""Rows of a network's output, the same bit for bit in every run and beside any batch-mates.

No torch here, whose loading takes seconds: exported networks run without it.
Axes: N images, B images of a batch, D outputs.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BATCH_SIZE = 16
BATCHES_AHEAD = 2  # read while the network is busy

ReadImages = Callable[[Sequence[str]], NDArray[np.uint8]]


class Runner(Protocol):
    """A network ready to run.

    batch_size: images of every batch. Libraries choose their kernels, and with them the order of
    sums, by the shape of what they are given, so all batches have the same.
    """

    @property
    def batch_size(self) -> int: ...

    def run(self, batches_BCHW: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Outputs of all batches one behind the other, N x D; of at least one batch."""
        ...


def rows_of(runner: Runner, read: ReadImages, ids: Sequence[str]) -> NDArray[np.float32]:
    """Outputs of the images, float32 N x D, in the order of ids.

    read: ids -> uint8 N x C x H x W; asked for one batch at a time, by another thread, so that the
    network does not wait for it. The last batch is padded.
    """
    if not ids:
        return np.empty((0, 0), np.float32)
    size = runner.batch_size
    with closing(_read_ahead(read, ids, size)) as read_batches:
        return runner.run(padded(images, size) for images in read_batches)[: len(ids)]


def padded(images_NCHW: NDArray[np.uint8], batch_size: int) -> NDArray[np.uint8]:
    """At most a batch of images as a whole one: the last comes again."""
    missing = batch_size - len(images_NCHW)
    if missing == 0:
        return images_NCHW
    return np.concatenate([images_NCHW, np.repeat(images_NCHW[-1:], missing, axis=0)])


def _read_ahead(
    read: ReadImages, ids: Sequence[str], batch_size: int
) -> Generator[NDArray[np.uint8], None, None]:
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    pool = ThreadPoolExecutor(1)
    try:
        for start in range(0, len(ids), batch_size):
            waiting.append(pool.submit(read, ids[start : start + batch_size]))
            if len(waiting) > BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # After an error or Ctrl-C a read may still wait for images that nobody makes any more.
        pool.shutdown(wait=False, cancel_futures=True)
