"""Files of weights in the safetensors format."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import nn

from atlas.core.errors import UserError
from atlas.core.files import content_hash, write_bytes
from atlas.core.result_files import read_result


def save_weights(path: Path, module: nn.Module) -> None:
    """Save the parameters and buffers of a module. If the run is killed, the older file stays."""
    write_bytes(path, save(_state(module)))


def load_weights(path: Path, module: nn.Module) -> None:
    """Load weights into a module in place.

    Raises:
        DamagedFileError: The file was changed or damaged after it was written.
        UserError: The file belongs to another network.
    """
    try:
        module.load_state_dict(load(read_result(path)))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise UserError(f"{path} are not the weights of this network ({_first(error)})") from error


def stores_layer(path: Path, layer: str) -> bool:
    """Return whether a file has weights of a layer.

    It is also true for a file that cannot be read, which `load_weights` reports.

    Args:
        path: The file of weights.
        layer: The name of the layer in its module.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return any(name.startswith(f"{layer}.") for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return True


def weights_hash(module: nn.Module) -> str:
    """Return a hash of the names and values of all weights, which does not depend on the device."""
    parts = [(name, tensor.numpy()) for name, tensor in sorted(_state(module).items())]
    return content_hash(*(part for pair in parts for part in pair))


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    # A network in memory may have the layout channels_last, which safetensors cannot save.
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()
    }


def _first(error: Exception) -> str:
    return " ".join(str(error).splitlines()[:2])
