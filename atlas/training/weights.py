"""Weights in safetensors files."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from atlas.core.errors import UserError
from atlas.core.files import content_hash, written_beside


def save_weights(path: Path, module: nn.Module) -> None:
    """Parameters and buffers; a killed run leaves the older file."""
    with written_beside(path) as beside:
        save_file(_state(module), beside)


def load_weights(path: Path, module: nn.Module) -> None:
    """Fills the module in place. Raises UserError where the file is damaged or another's."""
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise UserError(f"{path}: not the weights of this network ({_first(error)})") from error


def weights_hash(module: nn.Module) -> str:
    """Of names and values: equal networks have equal hashes, whatever their device."""
    parts = [(name, tensor.numpy()) for name, tensor in sorted(_state(module).items())]
    return content_hash(*(part for pair in parts for part in pair))


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    # contiguous: a network may lie in memory with its channels last
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()
    }


def _first(error: Exception) -> str:
    return " ".join(str(error).splitlines()[:2])
