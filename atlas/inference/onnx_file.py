"""Networks as ONNX files, for programs without torch.

Axes: N images, C channels, H x W pixels.
"""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from atlas.core.errors import UserError, install_command
from atlas.core.files import written_beside

INPUT, OUTPUT = "images", "vectors"
NEEDED = ("onnx", "onnxscript")


def write_onnx(
    network: nn.Module, path: Path, *, shape_CHW: tuple[int, int, int], about: Mapping[str, str]
) -> None:
    """Write a network as an ONNX file.

    Its input `images` is uint8 N x C x H x W for any N, and its output is `vectors`.

    Args:
        network: The network.
        path: The file to write.
        shape_CHW: The shape of an image.
        about: The metadata of the file.

    Raises:
        UserError: A package is missing.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"{' and '.join(missing)} {verb} not installed: run  {install_command('onnx')}"
        )
    was_training = network.training
    batch = torch.zeros((2, *shape_CHW), dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of code inside torch
            program = torch.onnx.export(
                network.eval().cpu(),
                (batch,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                dynamo=True,
                verbose=False,
            )
    finally:
        network.train(was_training)
    if program is None:
        raise ValueError("torch.onnx exported no program")
    for node in program.model.graph:  # the metadata would hold paths of this machine
        node.metadata_props.clear()
    program.model.metadata_props.update(about)
    with written_beside(path) as beside:
        program.save(str(beside))


def can_run() -> bool:
    """Return whether onnxruntime is installed."""
    return find_spec("onnxruntime") is not None


def run_onnx(path: Path, images_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the output of an ONNX file for images, N x C x H x W."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: images_NCHW})[0], np.float32)
