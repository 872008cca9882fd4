"""Plots of the exploration of an atlas.

Axes: C labels, V the 256 values of a pixel.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, LogNorm, Normalize
from matplotlib.container import BarContainer
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from atlas.report.figures import dress, panels, save_figure, shortened
from atlas.report.pictures import GRAY, colour_of

COLOURS = ("#1f5f8b", "#d1802b")  # the colours of the first and the second split
NAME_LETTERS = 30
MAPPED_LABELS = 60  # with more labels there is no room for their names
NUMBERED_LABELS = 32
EMPTY = "#eceff1"
WHITE_INK_ABOVE = 0.55  # numbers on cells that are darker than this are white

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def save_label_counts(
    path: Path,
    counts_C: Mapping[str, Counts],
    names: Sequence[str],
    *,
    numbers: NDArray[np.int64] | None = None,
) -> None:
    """Draw a bar for each label and split, with the most common label at the top.

    Args:
        path: The PNG file.
        counts_C: The number of images of each label, by split.
        names: The names of the labels.
        numbers: The numbers of the labels, by default 0, 1, 2, ...
    """
    order = np.argsort(-np.sum(list(counts_C.values()), axis=0), kind="stable")
    figure, ((axis,),) = panels(1, 1, (9.8, 1.0 + 0.265 * len(names)))
    shown = {split: counts[order].tolist() for split, counts in counts_C.items()}
    _draw_bars(axis, axis.barh, shown, "{:,}", least=0.7)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_xlim(0.7, 2.2 * max(int(counts.max()) for counts in counts_C.values()))
    axis.set_yticks(range(len(names)), [_named(names, k, numbers) for k in order], fontsize=8.5)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("images, on a logarithmic scale", fontsize=8.5)
    dress(axis)
    save_figure(path, figure)


def save_labels_per_image(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Draw the percentage of images by their number of labels, for each split.

    Args:
        path: The PNG file.
        tables: A table with the columns labels and percent, by split.
    """
    percent = {split: one.set_index("labels")["percent"] for split, one in tables.items()}
    together = pd.DataFrame(percent).fillna(0.0)
    figure, ((axis,),) = panels(1, 1, (6.4, 2.6))
    _draw_bars(axis, axis.bar, together.to_dict("list"), "{:.3g}%")
    axis.set_xticks(range(len(together)), together.index.astype(str), fontsize=8.5)
    axis.set_xlabel("labels on an image", fontsize=8.5)
    axis.set_ylabel("percent of images", fontsize=8.5)
    axis.margins(y=0.14)
    dress(axis, grid="y")
    save_figure(path, figure)


def save_cooccurrence(
    path: Path,
    both_CC: Counts,
    names: Sequence[str],
    *,
    numbers: NDArray[np.int64] | None = None,
) -> None:
    """Draw how many images have both of two labels, on a logarithmic scale of colours.

    The diagonal shows how many images have the label. The numbers of the labels are 0, 1, 2, ...
    unless `numbers` has others.
    """
    shown = np.where(both_CC > 0, both_CC, np.nan).astype(np.float64)
    norm = LogNorm(1, max(10, both_CC.max(initial=1)))
    written = [[f"{n}" if n else "" for n in row] for row in both_CC]
    named = [_named(names, k, numbers) for k in range(len(names))]
    _heat_map(path, shown, named, norm, "Blues", written, "images with both labels")


def save_correlation(
    path: Path,
    phi_CC: Floats,
    names: Sequence[str],
    *,
    numbers: NDArray[np.int64] | None = None,
) -> None:
    """Draw phi for each pair of labels, see `save_cooccurrence` for the numbers.

    Colours follow the square root, so that weak values show.
    """
    shown = phi_CC.copy()
    np.fill_diagonal(shown, np.nan)
    root, square = (lambda x, power=power: np.sign(x) * np.abs(x) ** power for power in (0.5, 2))
    norm = FuncNorm((root, square), -1, 1)
    written = [[_hundredths(v) if abs(v) >= 0.045 else "" for v in row] for row in shown]
    named = [_named(names, k, numbers) for k in range(len(names))]
    _heat_map(path, shown, named, norm, "RdBu_r", written, "phi (Pearson correlation)")


def save_pixel_values(path: Path, counts_CV: Mapping[str, Counts], channels: Sequence[str]) -> None:
    """Draw how often each pixel value occurs: a panel for each split, a line for each channel."""
    figure, (axes,) = panels(1, len(counts_CV), (9.8, 3.2), sharey=True)
    for axis, (split, counts) in zip(axes, counts_CV.items(), strict=True):
        for channel, counts_V in zip(channels, counts, strict=True):
            percent_V = np.where(counts_V > 0, 100 * counts_V / counts_V.sum(), np.nan)
            axis.plot(percent_V, color=_line_colour(channel), linewidth=1.4, label=channel)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_xlim(-2, 257)
        axis.set_xlabel("value of a pixel, 255 is white", fontsize=8.5)
        dress(axis, grid="both", title=f"{split} images")
    axes[0].set_ylabel("percent of pixels", fontsize=8.5)
    axes[-1].legend(fontsize=8.5, frameon=False)
    save_figure(path, figure)


def _draw_bars(
    axis: Axes, draw: Callable[..., BarContainer], shown: Mapping[Any, Sequence[float]],
    written: str, *, least: float = 0.0,
) -> None:  # fmt: skip
    """Draw a group of bars at each place, one for each split. `least` is where a bar of 0 ends."""
    thickness = 0.76 / len(shown)
    for n, (split, values) in enumerate(shown.items()):
        places = np.arange(len(values)) + (n - (len(shown) - 1) / 2) * thickness
        drawn = np.maximum(values, least)
        bars = draw(places, drawn, 0.94 * thickness, color=COLOURS[n], label=split)
        labels = [written.format(value) for value in values]
        axis.bar_label(bars, labels, padding=3, fontsize=8, color="0.25")
    if len(shown) > 1:
        axis.legend(fontsize=8.5, frameon=False, loc="lower right")


def _heat_map(
    path: Path, values_CC: Floats, shown: Sequence[str], norm: Normalize, colours: str,
    numbers: Sequence[Sequence[str]], said: str,
) -> None:  # fmt: skip
    count = len(shown)
    side, names_side = 0.29 * count, 0.4 + 0.067 * max(map(len, shown))
    size = (max(side, 2.4) + names_side + 1.0, max(side, 2.4) + names_side)
    figure, ((axis,),) = panels(1, 1, size)
    painted = mpl.colormaps[colours].with_extremes(bad=EMPTY)
    image = axis.imshow(values_CC, norm=norm, cmap=painted)
    dark_CC = _darkness(painted(norm(values_CC))) > WHITE_INK_ABOVE
    for (row, column), dark in np.ndenumerate(dark_CC):
        if count <= NUMBERED_LABELS and numbers[row][column]:
            axis.text(column, row, numbers[row][column], ha="center", va="center", fontsize=6,
                      color="white" if dark else "0.15")  # fmt: skip
    axis.set_xticks(range(count), shown, rotation=90, fontsize=8)
    axis.set_yticks(range(count), shown, fontsize=8)
    axis.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=0.8)
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axis, shrink=0.6, pad=0.015)
    bar.set_label(said, fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    save_figure(path, figure)


def _darkness(rgba_CC4: NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(1 - rgba_CC4[..., :3] @ (0.299, 0.587, 0.114), np.float64)


def _hundredths(value: float) -> str:
    """Return a value without its leading zero, such as -.19 for -0.19, because cells are narrow."""
    return f"{value:.2f}".replace("0.", ".", 1)


def _named(names: Sequence[str], place: int, numbers: NDArray[np.int64] | None) -> str:
    number = place if numbers is None else numbers[place]
    return f"{shortened(names[place], NAME_LETTERS)}  {number}"


def _line_colour(channel: str) -> tuple[float, ...] | str:
    """Return the colour of a channel, darkened so that it is visible on white."""
    colour = colour_of(channel)
    return "0.3" if colour == GRAY else tuple(0.78 * part / max(colour) for part in colour)
