"""Where this machine computes in bfloat16 itself, which makes a network about twice as fast."""

from dataclasses import replace
from typing import Literal

import torch

from atlas.training.settings import TrainingSettings


def processor_has_bfloat16() -> bool:
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def gpu_has_bfloat16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def machine_has_bfloat16() -> bool:
    return gpu_has_bfloat16() if torch.cuda.is_available() else processor_has_bfloat16()


def with_own_precision(training: TrainingSettings) -> TrainingSettings:
    """With the faster precision of this machine in place of "auto"."""
    return replace(training, precision=own_precision(training))


def own_precision(training: TrainingSettings) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    if training.precision != "auto":
        return training.precision
    return "bf16-mixed" if machine_has_bfloat16() else "32-true"
