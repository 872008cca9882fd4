"""The runtimes of this machine, and runners for a network.

torch, which takes seconds to load, is imported only where it is needed.
"""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.core.errors import UserError, install_command
from atlas.inference import openvino_runner
from atlas.inference.gpu import has_gpu
from atlas.inference.openvino_runner import OpenVinoRunner
from atlas.inference.runner import Runner
from atlas.inference.settings import (
    TORCH_FLOAT32,
    Precision,
    RuntimeChoice,
    RuntimeName,
    RuntimeOptions,
)

if TYPE_CHECKING:
    from torch import nn

EXACTER: tuple[Precision, ...] = ("int8", "bfloat16", "float32")  # from least to most exact


def candidates(options: RuntimeOptions) -> tuple[RuntimeChoice, ...]:
    """Return the requested runtime, then the alternatives if it fails its check.

    The alternatives are more and more exact. The last one is torch in float32.

    Raises:
        UserError: This machine does not have the requested runtime.
    """
    runtime = options.runtime if options.runtime != "auto" else _own_runtime(options)
    precision = options.precision if options.precision != "auto" else _own_precision(runtime)
    first = RuntimeChoice(runtime=runtime, precision=precision)
    if wrong := problem(first):
        raise UserError(f"{first}: {wrong}")
    others = [
        RuntimeChoice(runtime=runtime, precision=each)
        for each in EXACTER[EXACTER.index(precision) + 1 :]
    ]
    possible = [choice for choice in others if not problem(choice)]
    return tuple(dict.fromkeys([first, *possible, TORCH_FLOAT32]))


def problem(choice: RuntimeChoice) -> str:
    """Return why a runtime is not available and what to do about it, or "" if it is available."""
    if choice.runtime == "torch":
        return _torch_problem(choice.precision)
    for package in ("openvino", *(["nncf"] if choice.precision == "int8" else [])):
        if not openvino_runner.installed(package):
            return f"{package} is not installed: run  {install_command('fast')}"
    if not openvino_runner.has_precision(choice.precision):
        return f"this processor does not support {choice.precision}; use --precision float32"
    return ""


def versions(choice: RuntimeChoice) -> dict[str, str]:
    """Return the versions of the packages on which the outputs of a network depend."""
    names = ["torch", "timm"]
    if choice.runtime == "openvino":
        names.append("openvino")
    return {name: _version(name) for name in names}


# Metadata are parsed anew at each call, which is slow for an embedding of one image.
_version = cache(version)


def open_runner(
    network: "nn.Module", choice: RuntimeChoice, *, batch_size: int, model: Path | None
) -> Runner:
    """Return a runner for a network.

    Args:
        network: The network.
        choice: The runtime and precision.
        batch_size: The number of images of a batch.
        model: The folder of the exported network, which OpenVINO runs in place of `network`.

    Raises:
        UserError: This machine does not have the runtime.
    """
    if wrong := problem(choice):
        raise UserError(f"{choice}: {wrong}")
    if choice.runtime == "torch":
        from atlas.inference.torch_runner import TorchRunner

        return TorchRunner(network, batch_size=batch_size, precision=choice.precision)
    if model is None:
        raise ValueError("OpenVINO runs only exported networks; give the folder of one")
    return OpenVinoRunner(model, choice.precision)


def _own_runtime(options: RuntimeOptions) -> RuntimeName:
    if options.precision == "int8":
        return "openvino"
    return "torch" if has_gpu() or not openvino_runner.installed() else "openvino"


def _own_precision(runtime: RuntimeName) -> Precision:
    """Return the fastest precision of a runtime on this machine.

    On a processor, torch gains from bfloat16 too, but OpenVINO gains more.
    """
    if runtime == "torch":
        from atlas.training.precision import gpu_has_bfloat16

        has_it = gpu_has_bfloat16()
    else:
        has_it = not problem(RuntimeChoice(runtime="openvino", precision="bfloat16"))
    return "bfloat16" if has_it else "float32"


def _torch_problem(precision: Precision) -> str:
    if precision == "int8":
        return "int8 needs OpenVINO; use --runtime openvino"
    import torch

    from atlas.training.precision import gpu_has_bfloat16

    if precision == "bfloat16" and torch.cuda.is_available() and not gpu_has_bfloat16():
        return "this GPU does not support bfloat16; use --precision float32"
    return ""
