"""Fields as pictures for people. Axes: C channels, H rows, W columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atlas.core.files import written_beside
from atlas.dataset.hpa import DISPLAY_COLOURS

matplotlib.use("Agg")

GRAY = (1.0, 1.0, 1.0)


def stretched(
    field: NDArray[np.uint8], *, as_of: NDArray[np.uint8] | None = None
) -> NDArray[np.float32]:
    """Each channel divided by its 99.8th percentile, C x H x W; 1 is white, little lies above.

    as_of: a field whose percentiles are taken, so that brightness can be compared with it.
    For the eye only: fluorescence is dim, and no number is ever computed from this.
    """
    white_C = np.maximum(np.percentile(field if as_of is None else as_of, 99.8, axis=(1, 2)), 1.0)
    return field.astype(np.float32) / white_C.astype(np.float32)[:, None, None]


def colour_of(channel: str) -> tuple[float, float, float]:
    """How a channel shows, as weights of red, green and blue; gray without a colour of its own."""
    return DISPLAY_COLOURS.get(channel, GRAY)


def to_rgb(
    field: NDArray[np.uint8], channels: Sequence[str], *, as_of: NDArray[np.uint8] | None = None
) -> NDArray[np.float32]:
    """A field as H x W x 3 in 0..1, every channel stretched and in its colour."""
    rgb = np.zeros((*field.shape[1:], 3), np.float32)
    for plane, channel in zip(stretched(field, as_of=as_of), channels, strict=True):
        rgb += plane[:, :, None] * np.array(colour_of(channel), np.float32)
    return np.clip(rgb, 0.0, 1.0)


def save_grid(
    path: Path,
    rows: Sequence[Sequence[tuple[NDArray[np.float32], str]]],
    *,
    title: str = "",
    tile_inches: float = 2.0,
) -> None:
    """Rows of (picture H x W x 3, caption); rows may differ in length."""
    columns = max(len(row) for row in rows)
    size = (tile_inches * columns, (tile_inches + 0.45) * len(rows) + (0.4 if title else 0.0))
    figure, axes = plt.subplots(
        len(rows), columns, figsize=size, squeeze=False, layout="constrained"
    )
    if title:
        figure.suptitle(title, fontsize=10)
    for row, axes_of_row in zip(rows, axes, strict=True):
        for n, axis in enumerate(axes_of_row):
            axis.set_axis_off()
            if n < len(row):
                axis.imshow(row[n][0], interpolation="nearest")
                axis.set_title(row[n][1], fontsize=7)
    save_figure(path, figure)


def save_figure(path: Path, figure: Figure) -> None:
    """PNG without a date, so that equal work gives equal bytes."""
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=120, metadata={"Software": None})
    plt.close(figure)


# Words beneath pictures.


CAPTION_LETTERS = 36  # what fits over a picture; a UUID has as many


def shortened(text: str, letters: int = CAPTION_LETTERS) -> str:
    """The text, or its beginning and dots."""
    return text if len(text) <= letters else text[: letters - 3] + "..."


# Pictures in pairs, so many pairs across.


PAIRS_ACROSS = 3
TILE_INCHES = 2.0
GAP = 0.12  # between pairs, as a share of a picture's width


def pair_grid(pairs: int, *, title: str) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure, and the left and right place of each pair; at least one."""
    down = -(-pairs // PAIRS_ACROSS)
    figure, axes = plt.subplots(
        down,
        3 * PAIRS_ACROSS,
        figsize=(TILE_INCHES * (2 + GAP) * PAIRS_ACROSS, (TILE_INCHES + 0.4) * down + 0.4),
        squeeze=False,
        layout="constrained",
        width_ratios=[1, 1, GAP] * PAIRS_ACROSS,
    )
    figure.suptitle(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, [(left, right) for left, right, _ in axes.reshape(-1, 3)[:pairs]]


# What augmentation makes of one image. Axes: C channels, H x W pixels.


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
