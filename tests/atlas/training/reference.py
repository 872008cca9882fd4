"""Naive reference implementations of functions in `atlas.training`."""

import numpy as np
import torch


def all_rotations(image_CHW: np.ndarray) -> list[np.ndarray]:
    """Return the image in all quarter rotations, plain and mirrored."""
    rotations = [np.rot90(image_CHW, k, (1, 2)) for k in range(4)]
    return [
        np.ascontiguousarray(t)
        for t in [*rotations, *(rotation[:, :, ::-1] for rotation in rotations)]
    ]


def scaled_stem(weight_OKkk: torch.Tensor, channels: int) -> torch.Tensor:
    """Return the filters in turn, times K / C; for one channel, return their sum."""
    own = weight_OKkk.shape[1]
    if channels == 1:
        return sum(weight_OKkk[:, k : k + 1] for k in range(own))
    if channels == own:
        return weight_OKkk
    return torch.stack([weight_OKkk[:, c % own] * (own / channels) for c in range(channels)], 1)
