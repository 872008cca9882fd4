"""What runs a network, and in which numbers. Only the standard library here, so that `--help` is
instant."""

from dataclasses import dataclass
from typing import Literal

RuntimeName = Literal["torch", "openvino"]
Precision = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """What a command may ask for.

    Args:
        runtime: torch, openvino, or auto, which takes torch on a GPU and else OpenVINO where it is
            installed.
        precision: float32, bfloat16, int8 (OpenVINO only), or auto, which takes bfloat16 where
            the processor has it.
    """

    runtime: Literal["auto", RuntimeName] = "auto"
    precision: Literal["auto", Precision] = "auto"


AUTO = RuntimeOptions()


@dataclass(frozen=True, kw_only=True)
class RuntimeChoice:
    runtime: RuntimeName
    precision: Precision

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"


TORCH_FLOAT32 = RuntimeChoice(runtime="torch", precision="float32")
