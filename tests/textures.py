"""Drawn images with detail at every scale."""

import cv2
import numpy as np
from numpy.typing import NDArray


def texture(seed: int, *, channels: int = 2, size: int = 128) -> NDArray[np.uint8]:
    """Return smooth random blobs, C x H x W."""
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(channels):
        rough = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), size / 40)
        planes.append(np.clip(60 + rough / rough.std() * 35, 0, 255))
    return np.stack(planes).astype(np.uint8)
