"""Settings that choose the runtime of a network and its precision.

Only the standard library is imported here, so that `--help` is fast.
"""

from dataclasses import dataclass
from typing import Literal

RuntimeName = Literal["torch", "openvino"]
Precision = Literal["float32", "bfloat16", "int8"]
FileKind = Literal["torchscript", "onnx"]  # of networks that somebody else made


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """The runtime and precision that a command may ask for.

    Args:
        runtime: torch, openvino, or auto, which uses torch on a GPU, and otherwise OpenVINO if it
            is installed.
        precision: float32, bfloat16, int8 (OpenVINO only), or auto, which uses bfloat16 if the
            hardware supports it.
    """

    runtime: Literal["auto", RuntimeName] = "auto"
    precision: Literal["auto", Precision] = "auto"


AUTO = RuntimeOptions()


@dataclass(frozen=True, kw_only=True)
class RuntimeChoice:
    """A runtime with a precision."""

    runtime: RuntimeName
    precision: Precision

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"


TORCH_FLOAT32 = RuntimeChoice(runtime="torch", precision="float32")
