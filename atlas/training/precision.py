"""Checks whether this machine supports bfloat16 in hardware.

A network then runs about twice as fast.
"""

from dataclasses import replace
from typing import Literal

import torch

from atlas.training.settings import TrainingSettings


def processor_has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16."""
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def gpu_has_bfloat16() -> bool:
    """Return whether there is a GPU that computes in bfloat16."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def machine_has_bfloat16() -> bool:
    """Return whether the GPU, or without a GPU the processor, computes in bfloat16."""
    return gpu_has_bfloat16() if torch.cuda.is_available() else processor_has_bfloat16()


def with_own_precision(training: TrainingSettings) -> TrainingSettings:
    """Return the settings with the faster precision of this machine in place of "auto"."""
    return replace(training, precision=own_precision(training))


def own_precision(training: TrainingSettings) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Return the precision of the settings, or the faster one of this machine for "auto"."""
    if training.precision != "auto":
        return training.precision
    return "bf16-mixed" if machine_has_bfloat16() else "32-true"
