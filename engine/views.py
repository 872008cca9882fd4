"""Views of images: flips, turns and crops. Axes: N images, C channels, H x W pixels."""

from collections.abc import Iterator
from itertools import product

import torch


def turned_view(images_NCHW: torch.Tensor, view: int) -> torch.Tensor:
    """One of the 8 flips and turns: `view % 4` quarter turns, mirrored from 4 on."""
    quarter = torch.rot90(images_NCHW, view % 4, (2, 3))
    return quarter.flip(3) if view >= 4 else quarter


def crops_of(images_NCHW: torch.Tensor, crops: int, side_px: int) -> Iterator[torch.Tensor]:
    """Square crops of square images, one after the other: views of the same memory.

    crops: 1, 4 or 9 stand in a grid that reaches from edge to edge (1 in the middle); 5 are the
    four of the corners and the one in the middle.
    """
    room_px = images_NCHW.shape[3] - side_px
    if room_px < 0:
        raise ValueError(f"crops of {side_px} px from images of {images_NCHW.shape[3]} px")
    for top, left in _corners(crops, room_px):
        yield images_NCHW[:, :, top : top + side_px, left : left + side_px]


def _corners(crops: int, room_px: int) -> list[tuple[int, int]]:
    middle = room_px // 2
    if crops == 1:
        return [(middle, middle)]
    if crops == 5:
        return [*_corners(4, room_px), (middle, middle)]
    starts = {4: (0, room_px), 9: (0, middle, room_px)}[crops]
    return list(product(starts, starts))
