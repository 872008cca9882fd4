from pathlib import Path

import pytest
import torch
from torch import nn

from atlas.core.errors import UserError
from atlas.training.weights import load_weights, save_weights, weights_hash


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_weights_are_restored_with_the_same_hash(tmp_path: Path) -> None:
    first, second = network(0), network(1)
    first.to(memory_format=torch.channels_last)
    assert weights_hash(first) != weights_hash(second)
    save_weights(tmp_path / "w.safetensors", first)
    load_weights(tmp_path / "w.safetensors", second)
    assert weights_hash(first) == weights_hash(second)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"broken")
    with pytest.raises(UserError, match="not the weights of this network"):
        load_weights(path, network(0))
    save_weights(path, nn.Linear(2, 2))
    with pytest.raises(UserError, match="not the weights of this network"):
        load_weights(path, network(0))
