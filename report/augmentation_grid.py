"""What augmentation makes of one image. Axes: C channels, H x W pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from report.pictures import save_grid, to_rgb


def save_augmentations(
    path: Path,
    original: NDArray[np.uint8],
    rows: Sequence[Mapping[str, NDArray[np.uint8]]],
    *,
    channels: Sequence[str],
    title: str,
) -> None:
    """Rows of fields by name, all as bright as they are beside the original."""
    tiles = [
        [(to_rgb(field, channels, as_of=original), name) for name, field in row.items()]
        for row in rows
    ]
    save_grid(path, tiles, title=title)
