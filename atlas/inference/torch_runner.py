"""Networks that run on torch, on a GPU if there is one.

Axes: N images, B images of a batch, D outputs.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from atlas.core.parallel import keep_freed_memory
from atlas.core.timing import stage
from atlas.inference.runner import BATCH_SIZE, ReadImages, rows_of
from atlas.inference.settings import Precision


class TorchRunner:
    """Run a network with torch, on a GPU if there is one.

    Args:
        network: The network.
        batch_size: The number of images of a batch.
        precision: float32, or bfloat16 for the operations that autocast covers.
    """

    def __init__(
        self, network: nn.Module, *, batch_size: int, precision: Precision = "float32"
    ) -> None:
        self.network, self.bfloat16 = network, precision == "bfloat16"
        self._batch_size = batch_size

    @property
    def batch_size(self) -> int:
        """The number of images of every batch."""
        return self._batch_size

    @property
    def streams(self) -> int:
        """One, because the mode of the network is changed while it runs."""
        return 1

    def run(self, batches_BCHW: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the outputs of all batches, N x D."""
        rows = []
        with (
            evaluating(self.network) as device,
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16),
        ):
            for images in batches_BCHW:
                with stage("network", items=len(images)):
                    rows.append(self.network(on_device(images, device)).float())
            # Outputs are fetched at the end, because waiting for each batch leaves a GPU idle.
            with stage("network"):
                return np.asarray(torch.cat(rows).cpu().numpy())


def forward_rows(
    network: nn.Module,
    read: ReadImages,
    ids: Sequence[str],
    *,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "float32",
) -> NDArray[np.float32]:
    """Return the outputs of a torch network for images, see `rows_of`."""
    return rows_of(TorchRunner(network, batch_size=batch_size, precision=precision), read, ids)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[torch.device]:
    """Yield the device of a network that is ready to predict, and restore its mode afterwards."""
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    was_training = network.training
    network.eval().to(device).to(memory_format=torch.channels_last)
    try:
        with torch.backends.cudnn.flags(
            enabled=True, deterministic=True, benchmark=False, allow_tf32=False
        ):
            yield device
    finally:
        network.train(was_training)


def on_device(images_NCHW: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Return images on a device, in the memory layout of the network."""
    tensor = torch.from_numpy(images_NCHW)
    if device.type == "cuda":  # pinned memory is copied while the network runs
        tensor = tensor.pin_memory()
    tensor = tensor.to(device, non_blocking=True)
    return tensor.contiguous(memory_format=torch.channels_last)
