"""Which runtimes this machine has, and a network on the one that was chosen.

torch, whose loading takes seconds, is imported where it is needed: exported networks are not.
"""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.core.errors import UserError, install_command
from atlas.inference import openvino_runner
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

EXACTER: tuple[Precision, ...] = ("int8", "bfloat16", "float32")


def candidates(options: RuntimeOptions) -> tuple[RuntimeChoice, ...]:
    """What was asked for, then what takes its place should it fail its check: ever more exact, and
    torch in float32 at last.

    Raises UserError for what this machine does not have.
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
    """Why it cannot be had here and what to do about it; empty where it can."""
    if choice.runtime == "torch":
        return _torch_problem(choice.precision)
    for package in ("openvino", *(["nncf"] if choice.precision == "int8" else [])):
        if not openvino_runner.installed(package):
            return f"{package} is not installed: {install_command('fast')} brings it"
    if not openvino_runner.has_precision(choice.precision):
        return f"this processor has no {choice.precision}; give --precision float32"
    return ""


def versions(choice: RuntimeChoice) -> dict[str, str]:
    """Of what the numbers follow from."""
    names = ["torch", "timm"]
    if choice.runtime == "openvino":
        names.append("openvino")
    return {name: version(name) for name in names}


def open_runner(
    network: "nn.Module", choice: RuntimeChoice, *, batch_size: int, model: Path | None
) -> Runner:
    """model: the folder of the exported network, which OpenVINO runs in place of `network`.

    Raises UserError where this machine cannot run it so.
    """
    if wrong := problem(choice):
        raise UserError(f"{choice}: {wrong}")
    if choice.runtime == "torch":
        from atlas.inference.torch_runner import TorchRunner

        return TorchRunner(network, batch_size=batch_size, precision=choice.precision)
    if model is None:
        raise ValueError("OpenVINO runs exported networks only")
    return OpenVinoRunner(model, choice.precision)


def _own_runtime(options: RuntimeOptions) -> RuntimeName:
    if options.precision == "int8":
        return "openvino"
    import torch

    return "torch" if torch.cuda.is_available() or not openvino_runner.installed() else "openvino"


def _own_precision(runtime: RuntimeName) -> Precision:
    """On a processor torch gains from bfloat16 too, but OpenVINO gains more."""
    if runtime == "torch":
        from atlas.training.precision import gpu_has_bfloat16

        has_it = gpu_has_bfloat16()
    else:
        has_it = not problem(RuntimeChoice(runtime="openvino", precision="bfloat16"))
    return "bfloat16" if has_it else "float32"


def _torch_problem(precision: Precision) -> str:
    if precision == "int8":
        return "int8 is OpenVINO's; give --runtime openvino"
    import torch

    from atlas.training.precision import gpu_has_bfloat16

    if precision == "bfloat16" and torch.cuda.is_available() and not gpu_has_bfloat16():
        return "this GPU has no bfloat16; give --precision float32"
    return ""
