"""Networks as ONNX files: written for programs without torch, and those of somebody else run here.

Axes: N images, C channels, H x W pixels.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from atlas.core.errors import UserError, install_command
from atlas.core.files import written_beside
from atlas.inference.runner import padded

INPUT, OUTPUT = "images", "vectors"
NEEDED = ("onnx", "onnxscript")
INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
FATAL = 4  # the level of messages of onnxruntime; its errors are exceptions, too


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


def version() -> str:
    """Return the version of onnxruntime, which several packages install."""
    import onnxruntime

    return str(onnxruntime.__version__)


def open_onnx(
    path: Path, choose: Callable[[Sequence[str]], int]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that runs an ONNX file on images and returns one of its outputs.

    The file is run on the processor. No library of custom operators is loaded, and the file cannot
    refer to other files.

    Args:
        path: The file.
        choose: Function from the names of the outputs to the position of the one that is returned.

    Raises:
        UserError: onnxruntime is missing or cannot run the file; the text says what to do.
    """
    if not can_run():
        raise UserError(f"{path}: onnxruntime is not installed: run  {install_command('onnx')}")
    session = _session(path)
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in INPUT_TYPES:
        found = ", ".join(f"{each.name}: {each.type}" for each in inputs)
        raise UserError(f"{path} must have one input, of float images (its inputs are {found})")
    name, dtype = inputs[0].name, INPUT_TYPES[inputs[0].type]
    batch = next(iter(inputs[0].shape), None)  # a network may not say its shape
    outputs = [output.name for output in session.get_outputs()]
    chosen = outputs[choose(outputs)]

    def run(images_NCHW: torch.Tensor) -> torch.Tensor:
        images = images_NCHW.cpu().numpy().astype(dtype)
        size = batch if isinstance(batch, int) else len(images)
        parts = [
            session.run([chosen], {name: padded(images[start : start + size], size)})[0]
            for start in range(0, len(images), size)
        ]
        vectors = torch.from_numpy(np.concatenate(parts)[: len(images)])
        return vectors.to(images_NCHW.device)

    return run


def _session(path: Path) -> Any:
    """Return the session of an ONNX file, which may not read other files."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.use_deterministic_compute = True
    options.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory() as empty:  # where weights in other files would be looked for
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", empty
        )
        try:
            return onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises many types of exceptions
            text = " ".join(str(error).split())
            if "external data" in text.lower():
                raise UserError(
                    f"{path} keeps its weights in another file; save it as one file, with "
                    "torch.onnx.export(..., external_data=False)"
                ) from error
            raise UserError(f"onnxruntime cannot load {path} ({text[:200]})") from error
