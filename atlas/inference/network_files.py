"""Networks that somebody else made, as files: TorchScript and ONNX.

Axes: N images, C channels, H x W pixels, D outputs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from atlas.core.errors import UserError
from atlas.inference.onnx_file import open_onnx
from atlas.inference.settings import FileKind
from atlas.inference.torchscript_file import error_line, open_torchscript

Choose = Callable[[Sequence[str]], int]
OPEN: dict[FileKind, Callable[[Path, Choose], Callable[[torch.Tensor], Any]]] = {
    "torchscript": open_torchscript,
    "onnx": open_onnx,
}


class NetworkFile(nn.Module):
    """Run the network of a file: float32 N x C x H x W -> float32 N x D.

    The weights stay in the file. They are no part of the state of this module, which is neither
    trained nor exported.

    Args:
        path: The file.
        kind: Its format.
        output: The name or number of the output that is the vector; None if there is only one.

    Raises:
        UserError: The file cannot be run here; the text says why.
    """

    def __init__(self, path: Path, kind: FileKind, *, output: int | str | None) -> None:
        super().__init__()
        self.path, self.output = path, output
        self._run = OPEN[kind](path, self._position)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the vectors of prepared images, N x D.

        Raises:
            UserError: The network fails, or does not give a vector of numbers for each image.
        """
        try:
            # Programs that were traced may expect the usual layout of memory.
            vectors_ND = self._run(images_NCHW.contiguous())
        except (UserError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the runtimes raise many types of exceptions
            shape = " x ".join(map(str, images_NCHW.shape[1:]))
            raise UserError(
                f"{self.path} fails on images of {shape} px ({error_line(error)}); check channels "
                f"and size_px in {self._settings}"
            ) from error
        return self._checked(vectors_ND, len(images_NCHW))

    @property
    def _settings(self) -> Path:
        return self.path.with_suffix(".toml")

    def _position(self, names: Sequence[str]) -> int:
        """Return the position of the wanted output."""
        if isinstance(self.output, str) and self.output in names:
            return names.index(self.output)
        if isinstance(self.output, int) and self.output < len(names):
            return self.output
        if self.output is None and len(names) == 1:
            return 0
        wrong = "has several" if self.output is None else f"has no output {self.output!r} among its"
        raise UserError(
            f"{self.path} {wrong} outputs ({', '.join(names)}); set output in {self._settings} to "
            "one of them, by its name or its number from 0 on"
        )

    def _checked(self, vectors_ND: Any, images: int) -> torch.Tensor:
        if not isinstance(vectors_ND, torch.Tensor):
            raise UserError(
                f"{self.path} gives a {type(vectors_ND).__name__} and no vectors; if it has other "
                f"outputs, choose one with output in {self._settings}"
            )
        if vectors_ND.ndim != 2 or len(vectors_ND) != images or not vectors_ND.shape[1]:
            raise UserError(
                f"{self.path} gives an output of the shape {tuple(vectors_ND.shape)} for {images} "
                "images, which is not one vector for each; if it has other outputs, choose one "
                f"with output in {self._settings}, and export it for any number of images"
            )
        if not bool(vectors_ND.isfinite().all()):
            raise UserError(
                f"{self.path} gives infinite or undefined numbers for an image; check scale, mean "
                f"and deviation in {self._settings}"
            )
        return vectors_ND.float()
