"""Rows of a network's output, the same bit for bit in every run and beside any batch-mates.

Axes: N images, D outputs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from atlas.profiling import stage
from engine.memory import keep_freed_memory

BATCH_SIZE = 16

ReadImages = Callable[[Sequence[str]], NDArray[np.uint8]]


def forward_rows(
    network: nn.Module, read: ReadImages, ids: Sequence[str], *, batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """Outputs of the images, float32 N x D, in the order of ids.

    read: ids -> uint8 N x C x H x W; asked for one batch at a time.
    Every batch has the same shape, the last one padded: libraries choose their kernels, and with
    them the order of sums, by the shape of what they are given.
    """
    rows = []
    with evaluating(network) as device, torch.inference_mode():
        for start in range(0, len(ids), batch_size):
            images = read(ids[start : start + batch_size])
            with stage("network", items=len(images)):
                output = network(on_device(padded(images, batch_size), device))
                rows.append(output[: len(images)].float().cpu().numpy())
    return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)


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
    tensor = torch.from_numpy(images_NCHW).to(device)
    return tensor.contiguous(memory_format=torch.channels_last)
