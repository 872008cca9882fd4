"""A network run by torch, on a GPU where there is one.

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
    """As `rows_of`, of a torch network."""
    return rows_of(TorchRunner(network, batch_size=batch_size, precision=precision), read, ids)


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


def on_device(images_NCHW: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Laid out as the network is."""
    tensor = torch.from_numpy(images_NCHW)
    if device.type == "cuda":  # from pinned memory the copy runs beside the network
        tensor = tensor.pin_memory()
    tensor = tensor.to(device, non_blocking=True)
    return tensor.contiguous(memory_format=torch.channels_last)
