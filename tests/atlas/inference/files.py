"""Small networks as TorchScript and ONNX files and as weights, such as other people publish."""

import warnings
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import nn

BATCH = {0: torch.export.Dim.DYNAMIC}


class Tiny(nn.Module):
    """Map images to vectors that differ between images: N x inputs x H x W -> N x features."""

    def __init__(self, inputs: int = 3, features: int = 20, seed: int = 0) -> None:
        super().__init__()
        self.filters = nn.Conv2d(inputs, features, 3, stride=2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(seed))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.filters(images)).mean((2, 3))


class TwoOutputs(nn.Module):
    """Map images to a feature map and a vector."""

    def __init__(self, network: Tiny) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.network.filters(images), self.network(images)


class NamedOutputs(nn.Module):
    """Map images to the same, by name."""

    def __init__(self, network: Tiny) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"map": self.network.filters(images), "vector": self.network(images)}


def save_weights(path: Path, name: str) -> str:
    """Write weights at random for a network of timm, and return it as an embedder's source."""
    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), path)
    return f"timm:{name}@{path}"


def save_torchscript(path: Path, network: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch recommends other formats
        torch.jit.save(torch.jit.script(network.eval()), str(path))
    return path


def save_onnx(
    path: Path, network: nn.Module, *, inputs: int = 3, size_px: int = 32, any_batch: bool = True
) -> Path:
    dtype = next(network.parameters()).dtype
    batch = torch.zeros(2 if any_batch else 1, inputs, size_px, size_px, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of code inside torch
        program = torch.onnx.export(
            network.eval(),
            (batch,),
            dynamic_shapes=(BATCH,) if any_batch else None,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(path))
    return path
