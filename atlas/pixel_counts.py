"""What a channel's pixels look like, from how often each of the 256 values occurs.

Counts add up over images, so every figure is of all pixels that were counted, and exact.
Axes: N images, C channels, V the 256 values of a pixel.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

VALUES = 256
WHITE = VALUES - 1
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

Counts = NDArray[np.integer[Any]]


def value_counts(field: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Of a field C x H x W: C x V."""
    counted = [np.bincount(plane.ravel(), minlength=VALUES) for plane in field]
    return np.array(counted, np.uint32)


def channel_figures(counts_NV: Counts) -> dict[str, float]:
    """Of one channel over some images, at least one: images, pixels, mean, sd, percentiles.

    black, saturated: percent of the pixels that are 0 and 255. flat: images of one value only.
    sd_of_means: how far the images' means scatter about their own mean.
    """
    counts_V = counts_NV.sum(axis=0, dtype=np.int64)
    pixels = int(counts_V.sum())
    mean, sd = _moments(counts_V)
    return {
        "images": len(counts_NV),
        "pixels": pixels,
        "mean": mean,
        "sd": sd,
        "sd_of_means": float(np.std([_moments(counts)[0] for counts in counts_NV])),
        **{f"p{share}": _percentile(counts_V, share) for share in PERCENTILES},
        "black": 100 * int(counts_V[0]) / pixels,
        "saturated": 100 * int(counts_V[WHITE]) / pixels,
        "flat": int(((counts_NV > 0).sum(axis=1) == 1).sum()),
    }


def channel_table(counts_NCV: Counts, channels: tuple[str, ...], split: str) -> pd.DataFrame:
    """A row for each channel of the images of a split: split, channel, `channel_figures`."""
    rows = [
        {"split": split, "channel": channel, **channel_figures(counts_NCV[:, c])}
        for c, channel in enumerate(channels)
    ]
    return pd.DataFrame(rows)


def _moments(counts_V: Counts) -> tuple[float, float]:
    """Mean and standard deviation."""
    share_V = counts_V / counts_V.sum()
    mean = float(share_V @ np.arange(VALUES))
    return mean, float(np.sqrt(share_V @ (np.arange(VALUES) - mean) ** 2))


def _percentile(counts_V: Counts, percent: int) -> int:
    """The least value that so many percent of the pixels do not exceed; whole numbers, exact."""
    reached_V = 100 * np.cumsum(counts_V) >= percent * counts_V.sum()
    return int(np.argmax(reached_V))
