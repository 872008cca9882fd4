"""TorchScript files: programs that somebody else made, run by torch.

A TorchScript file is a program. torch gives it no access to Python, but it may call every operator
of torch, and a few of these read and write files.
"""

import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from atlas.core.errors import UserError

# Operators that reach the files of this machine: torch.save and torch.from_file.
REACHES_FILES = re.compile(r"\b(?:save|from_file)\b")


def open_torchscript(
    path: Path, choose: Callable[[Sequence[str]], int]
) -> Callable[[torch.Tensor], Any]:
    """Return a function that runs a TorchScript file on images and returns one of its outputs.

    Operator libraries that the program may need are not loaded.

    Args:
        path: The file.
        choose: Function from the names of the outputs to the position of the one that is returned.
            The outputs of a tuple are named by their numbers.

    Raises:
        UserError: The file is no TorchScript program, or one that reaches files of this machine.
    """
    _check_code(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch recommends other formats to whoever exports
            load: Callable[..., torch.jit.ScriptModule] = torch.jit.load
            program = load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise UserError(f"torch cannot load {path} ({error_line(error)})") from error

    def run(images_NCHW: torch.Tensor) -> Any:
        program.to(images_NCHW.device)
        # Optimisation would fuse operations after the first runs, which may change the last bits.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            outputs = program(images_NCHW)
        if isinstance(outputs, dict):
            return list(outputs.values())[choose(list(map(str, outputs)))]
        if not isinstance(outputs, tuple | list):
            outputs = (outputs,)
        return outputs[choose(list(map(str, range(len(outputs)))))]

    return run


def error_line(error: Exception) -> str:
    """Return an error of torch in a line: of a traceback of TorchScript, only its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    is_traceback = any(line.startswith("Traceback") for line in lines)
    text = " ".join(lines[-1:] if is_traceback else lines) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


def _check_code(path: Path) -> None:
    """Refuse files without a program, and programs that name operators which reach files.

    Some code runs when the file is loaded, so the check comes first.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a TorchScript file")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if "code/" in n and n.endswith(".py")]
            code = "\n".join(archive.read(name).decode(errors="replace") for name in names)
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise UserError(f"{path} is damaged ({error_line(error)})") from error
    if not names:
        raise UserError(
            f"{path} contains weights without a program; export the network with torch.jit.trace "
            "or torch.jit.script"
        )
    if found := REACHES_FILES.search(code):
        raise UserError(
            f"{path} was not loaded: its program contains the name {found.group()}, by which "
            "TorchScript reads or writes files"
        )
