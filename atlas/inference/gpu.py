"""Whether there is a GPU for torch."""

import sys
from pathlib import Path

# NVIDIA, AMD, and both within Windows.
DEVICES = tuple(map(Path, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")))


def has_gpu() -> bool:
    """Return whether torch finds a GPU.

    torch takes seconds to load, so it is not asked on a Linux machine without any such device.
    """
    if sys.platform == "linux" and not any(device.exists() for device in DEVICES):
        return False
    import torch

    return torch.cuda.is_available()
