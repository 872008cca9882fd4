"""Runners compute the outputs of a network. Equal images give equal bits in every run.

The outputs of an image do not depend on the other images of its batch. This module does not import
torch, which takes seconds, because exported networks run without it.

Axes: N images, B images of a batch, D outputs.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

BATCH_SIZE = 16
BATCHES_AHEAD = 2  # number of batches that are read while the network runs

Number = TypeVar("Number", bound=np.generic)
ReadImages = Callable[[Sequence[str]], NDArray[np.uint8]]


class Runner(Protocol):
    """A network that is ready to run.

    All batches have the same shape, because libraries choose their kernels, and so the order of
    sums, by the shape of the input.
    """

    @property
    def batch_size(self) -> int:
        """The number of images of every batch."""
        ...

    @property
    def streams(self) -> int:
        """The number of threads that may call `run` at the same time, and gain by it."""
        ...

    def run(self, batches_BCHW: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the outputs of all batches, N x D. There must be at least one batch."""
        ...


def rows_of(runner: Runner, read: ReadImages, ids: Sequence[str]) -> NDArray[np.float32]:
    """Return the outputs of images, float32 N x D, in the order of their ids.

    Args:
        runner: The network.
        read: A function from ids to images, uint8 N x C x H x W. Another thread calls it for one
            batch at a time, so that the network does not wait.
        ids: The ids of the images. The last batch is padded.
    """
    if not ids:
        return np.empty((0, 0), np.float32)
    size = runner.batch_size
    with closing(_read_ahead(read, ids, size)) as read_batches:
        return runner.run(padded(images, size) for images in read_batches)[: len(ids)]


def padded(images_NCHW: NDArray[Number], batch_size: int) -> NDArray[Number]:
    """Fill a batch by repeating its last image."""
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
        # After an error or Ctrl-C, a read may still wait for images that will never be stored.
        pool.shutdown(wait=False, cancel_futures=True)
