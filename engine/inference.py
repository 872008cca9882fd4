"""Rows of a network's output, the same bit for bit in every run and beside any batch-mates.

Axes: N images, B images of a batch, D outputs.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from atlas.memory import keep_freed_memory
from atlas.profiling import stage
from engine.runtime_settings import Precision

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


class TorchRunner:
    """On a GPU where there is one. precision: float32, or bfloat16 for what autocast computes in
    it."""

    def __init__(
        self, network: nn.Module, *, batch_size: int, precision: Precision = "float32"
    ) -> None:
        self.network, self.bfloat16 = network, precision == "bfloat16"
        self._batch_size = batch_size

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def run(self, batches_BCHW: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        rows = []
        with (
            evaluating(self.network) as device,
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16),
        ):
            for images in batches_BCHW:
                with stage("network", items=len(images)):
                    rows.append(self.network(on_device(images, device)).float())
            # Only now: to wait for each batch would leave a GPU idle in between.
            return np.asarray(torch.cat(rows).cpu().numpy())


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


def forward_rows(
    network: nn.Module,
    read: ReadImages,
    ids: Sequence[str],
    *,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "float32",
) -> NDArray[np.float32]:
    """As `rows_of`, of a torch network."""
    return rows_of(TorchRunner(network, batch_size=batch_size, precision=precision), read, ids)


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
        pool.shutdown(cancel_futures=True)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[torch.device]:
    """The network as it predicts, on the device that it gives; as it was before, afterwards."""
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    was_training = network.training
    network.eval().to(device).to(memory_format=torch.channels_last)
    try:
        with torch.backends.cudnn.flags(deterministic=True, benchmark=False, allow_tf32=False):
            yield device
    finally:
        network.train(was_training)


def padded(images_NCHW: NDArray[np.uint8], batch_size: int) -> NDArray[np.uint8]:
    """At most a batch of images as a whole one: the last comes again."""
    missing = batch_size - len(images_NCHW)
    if missing == 0:
        return images_NCHW
    return np.concatenate([images_NCHW, np.repeat(images_NCHW[-1:], missing, axis=0)])


def on_device(images_NCHW: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Laid out as the network is."""
    tensor = torch.from_numpy(images_NCHW)
    if device.type == "cuda":  # from pinned memory the copy runs beside the network
        tensor = tensor.pin_memory()
    tensor = tensor.to(device, non_blocking=True)
    return tensor.contiguous(memory_format=torch.channels_last)
