"""Plots of evaluated embedders: runs side by side, gains, similarities, and a map.

Axis N: images.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from atlas.report.figures import dress, panels, save_figure, shortened
from atlas.report.pictures import Rgb

SCORES = {"map_at_r": ("MAP@R", "tab:blue"), "top1": ("top-1", "tab:orange")}
BAR_HEIGHT = 0.38
ERRORS_SHOWN = 2  # standard errors on either side, about a 95% interval
BINS = 80

CELLS_ACROSS = 15  # each cell that contains an image shows a picture, so there are at most 225
CELL_SHARE = 0.88  # the share of a cell that its picture fills
OTHERS_COLOUR = (0.6, 0.6, 0.6)
# The colours of tab20 without its two grays.
NAMED_COLOURS = [mpl.colormaps["tab20"](n)[:3] for n in range(20) if n not in (14, 15)]

Floats = NDArray[np.float32]
Colour = tuple[float, float, float]
Cell = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SimilarityPanel:
    """The cosines of pairs, and the threshold that separates them best."""

    title: str
    same: Floats
    different: Floats
    threshold: float


def save_comparison_plot(
    path: Path, runs: pd.DataFrame, *, kind: str, metrics: Mapping[str, str]
) -> None:
    """Draw a panel for each metric with a line for each kind of run, in the order of the rows.

    A dot is a run, and a bar is the mean. Each panel has its own scale, which shows differences.

    Args:
        path: The PNG file.
        runs: A row for each run.
        kind: The column that names the line of a run.
        metrics: The title of each column that is drawn.
    """
    names = list(dict.fromkeys(runs[kind]))
    place_of_run = runs[kind].map({name: n for n, name in enumerate(names)}).to_numpy(float)
    size_inches = (1.4 + 2.3 * len(metrics), 1.1 + 0.24 * len(names))
    figure, (axes,) = panels(1, len(metrics), size_inches, sharey=True)
    for axis, (column, title) in zip(axes, metrics.items(), strict=True):
        _draw_runs(axis, runs[column].to_numpy(float), place_of_run)
        dress(axis, title=title)
    _name_lines(axes[0], names)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save_figure(path, figure)


def save_gain_plot(path: Path, table: pd.DataFrame) -> None:
    """Draw a panel for each protocol, with a pair of bars for each combination except the first.

    Each panel has its own scale.

    Args:
        path: The PNG file.
        table: The columns protocol, combination, queries, and `_gain` and `_gain_error` of each of
            SCORES.
    """
    protocols = list(dict.fromkeys(table["protocol"]))
    first, *names = dict.fromkeys(table["combination"])
    size_inches = (3.2 + 2.4 * len(protocols), 1.3 + 0.3 * len(names))
    figure, (axes,) = panels(1, len(protocols), size_inches, sharey=True)
    for axis, protocol in zip(axes, protocols, strict=True):
        rows = table[table["protocol"] == protocol].set_index("combination")
        _draw_gains(axis, rows.loc[names])
        dress(axis, title=f"{protocol} ({rows['queries'].iloc[0]} queries)")
    _name_lines(axes[0], names)
    handles = axes[0].get_legend_handles_labels()
    figure.supxlabel(f"gain over {first}, ± {ERRORS_SHOWN} standard errors", fontsize=9)
    figure.legend(*handles, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    save_figure(path, figure)


def save_similarity_histogram(path: Path, shown: Sequence[SimilarityPanel]) -> None:
    """Draw panels below one another, on one scale of cosines. The area of each histogram is 1."""
    figure, axes = panels(len(shown), 1, (7, 0.8 + 2.1 * len(shown)), sharex=True)
    everything = np.concatenate([cosines for p in shown for cosines in (p.same, p.different)])
    bins = np.linspace(float(everything.min()), float(everything.max()) + 1e-6, BINS + 1).tolist()
    for axis, panel in zip(axes[:, 0], shown, strict=True):
        _draw_similarities(axis, panel, bins)
    axes[-1, 0].set_xlabel("cosine of two embeddings")
    save_figure(path, figure)


def save_embedding_map(
    path: Path,
    points_N2: Floats,
    classes: Sequence[str],
    picture_of: Callable[[int], Rgb],
    *,
    title: str,
) -> None:
    """Draw a dot for each image, and pictures of some images.

    Dots and frames are coloured by class: the 18 most common classes have names and colours, and
    the others are gray.

    Args:
        path: The PNG file.
        points_N2: The places of the images.
        classes: The class of each image.
        picture_of: A function from a position in N to H x W x 3 from 0 to 1. It is called for the
            images that are shown.
        title: The title.
    """
    colours = class_colours(classes)
    of_image = [colours.get(name, OTHERS_COLOUR) for name in classes]
    square_N2 = on_unit_square(points_N2)
    figure, ((axis,),) = panels(1, 1, (13, 10.5))
    for cell, n in cells_with_images(square_N2).items():
        _draw_picture(axis, cell, picture_of(n), of_image[n])
    axis.scatter(*square_N2.T, s=22, c=of_image, edgecolors="white", linewidths=0.7, zorder=3)
    _name_classes(figure, colours, Counter(classes))
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
    axis.set_axis_off()
    save_figure(path, figure)


def class_colours(classes: Sequence[str]) -> dict[str, Colour]:
    """Return a colour for each of the most common classes, most common first."""
    ranked = sorted(Counter(classes).items(), key=lambda pair: (-pair[1], pair[0]))
    return {name: colour for (name, _), colour in zip(ranked, NAMED_COLOURS, strict=False)}


def on_unit_square(points_N2: Floats) -> Floats:
    """Scale points to 0 to 1 along both axes, with a margin of half a cell."""
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    margin = 0.5 / CELLS_ACROSS
    share_N2 = (points_N2 - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return np.asarray(margin + share_N2 * (1 - 2 * margin), np.float32)


def cells_with_images(square_N2: Floats) -> dict[Cell, int]:
    """Return the position of the image nearest the middle of each cell that contains an image."""
    cells_N2 = np.minimum((square_N2 * CELLS_ACROSS).astype(int), CELLS_ACROSS - 1)
    middles_N2 = (cells_N2 + 0.5) / CELLS_ACROSS
    distance_N = np.linalg.norm(square_N2 - middles_N2, axis=1)
    chosen: dict[Cell, int] = {}
    for n in np.argsort(distance_N, kind="stable"):
        chosen.setdefault((int(cells_N2[n, 0]), int(cells_N2[n, 1])), int(n))
    return chosen


def _draw_runs(axis: Axes, values: np.ndarray, places: np.ndarray) -> None:
    means = pd.Series(values).groupby(places).mean()
    axis.hlines(means.index, 0, 1, transform=axis.get_yaxis_transform(), color="0.92", zorder=0)
    axis.scatter(values, places, s=16, color="tab:blue", alpha=0.45, linewidths=0, label="one run")
    axis.scatter(means, means.index, s=90, marker="|", linewidths=1.8, color="black", label="mean")
    axis.margins(x=0.08)


def _draw_gains(axis: Axes, rows: pd.DataFrame) -> None:
    for n, (score, (title, colour)) in enumerate(SCORES.items()):
        axis.barh(
            np.arange(len(rows)) + (n - 0.5) * BAR_HEIGHT,
            rows[f"{score}_gain"].to_numpy(float),
            xerr=ERRORS_SHOWN * rows[f"{score}_gain_error"].to_numpy(float),
            height=BAR_HEIGHT,
            color=colour,
            label=title,
            error_kw={"elinewidth": 0.8, "ecolor": "0.25"},
        )
    axis.axvline(0, color="black", linewidth=0.8)
    axis.locator_params(axis="x", nbins=5)


def _name_lines(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)


def _draw_similarities(axis: Axes, panel: SimilarityPanel, bins: list[float]) -> None:
    kinds = (
        ("different classes", panel.different, "tab:orange"),
        ("same class", panel.same, "tab:blue"),
    )
    for name, cosines, colour in kinds:
        label = f"{name} ({len(cosines):,} pairs)"
        axis.hist(
            cosines, bins=bins, density=True, histtype="stepfilled",
            alpha=0.6, color=colour, label=label,
        )  # fmt: skip
    said = f"threshold {panel.threshold:.3f}"
    axis.axvline(panel.threshold, color="black", linestyle="--", linewidth=1, label=said)
    dress(axis, title=panel.title)
    axis.set_ylabel("density")
    axis.set_yticks([])
    axis.legend(fontsize=8, frameon=False)


def _draw_picture(axis: Axes, cell: Cell, picture: Rgb, colour: Colour) -> None:
    left, bottom = ((c + (1 - CELL_SHARE) / 2) / CELLS_ACROSS for c in cell)
    side = CELL_SHARE / CELLS_ACROSS
    extent = (left, left + side, bottom, bottom + side)
    axis.imshow(picture, extent=extent, interpolation="antialiased", zorder=1)
    frame = Rectangle((left, bottom), side, side, fill=False, edgecolor=colour, linewidth=2)
    axis.add_patch(frame).set_zorder(2)


def _name_classes(figure: Figure, colours: dict[str, Colour], counts: Counter[str]) -> None:
    said = [(f"{shortened(name)} ({counts[name]})", colour) for name, colour in colours.items()]
    others = sum(count for name, count in counts.items() if name not in colours)
    if others:
        said.append((f"other classes ({others})", OTHERS_COLOUR))
    dots = [Line2D([], [], marker="o", linestyle="", color=colour) for _, colour in said]
    labels = [text for text, _ in said]
    figure.legend(dots, labels, loc="outside right upper", fontsize=8, frameon=False)
