"""Runs of several kinds side by side: a dot for each run, a bar for their mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from atlas.report.pictures import pair_grid, save_figure, shortened

DOT_COLOUR, MEAN_COLOUR = "tab:blue", "black"


def save_comparison_plot(
    path: Path, runs: pd.DataFrame, *, kind: str, metrics: Mapping[str, str]
) -> None:
    """One panel for each metric, one line for each kind, from the top in the order of the rows.

    runs: a row for each run. kind: the column that names its line. metrics: column -> title.
    Each panel has a scale of its own, for the differences within it.
    """
    names = list(dict.fromkeys(runs[kind]))
    place_of_run = runs[kind].map({name: n for n, name in enumerate(names)}).to_numpy(float)
    figure, panels = plt.subplots(
        1,
        len(metrics),
        figsize=(1.4 + 2.3 * len(metrics), 1.1 + 0.24 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (column, title) in zip(panels[0], metrics.items(), strict=True):
        _panel(axis, runs[column].to_numpy(float), place_of_run)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8)
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save_figure(path, figure)


def _panel(axis: Axes, values: np.ndarray, places: np.ndarray) -> None:
    means = pd.Series(values).groupby(places).mean()
    axis.hlines(means.index, 0, 1, transform=axis.get_yaxis_transform(), color="0.92", zorder=0)
    axis.scatter(values, places, s=16, color=DOT_COLOUR, alpha=0.45, linewidths=0, label="one run")
    axis.scatter(means, means.index, s=90, marker="|", linewidths=1.8, color=MEAN_COLOUR,
                 label="mean")  # fmt: skip
    axis.grid(axis="x", color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.margins(x=0.08)
    axis.spines[["top", "right"]].set_visible(False)


# How much each of several ways gains over the first of them.


SCORES = {"map_at_r": "MAP@R", "top1": "top-1"}
COLOURS = {"map_at_r": "tab:blue", "top1": "tab:orange"}
BAR_HEIGHT = 0.38
ERRORS_SHOWN = 2  # standard errors on either side, about 95 %


def save_gain_plot(path: Path, table: pd.DataFrame) -> None:
    """A panel for each protocol, a pair of bars for each combination but the first, as in `table`.

    table: protocol, combination, queries, and `_gain` and `_gain_error` of each of SCORES. Each
    panel has a scale of its own.
    """
    protocols = list(dict.fromkeys(table["protocol"]))
    first, *names = dict.fromkeys(table["combination"])
    size = (3.2 + 2.4 * len(protocols), 1.3 + 0.3 * len(names))
    figure, panels = plt.subplots(
        1, len(protocols), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, protocol in zip(panels[0], protocols, strict=True):
        rows = table[table["protocol"] == protocol].set_index("combination")
        _gain_panel(axis, rows.loc[names])
        axis.set_title(f"{protocol} ({rows['queries'].iloc[0]} queries)", fontsize=9)
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.supxlabel(f"gain over {first}, ± {ERRORS_SHOWN} standard errors", fontsize=9)
    figure.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    save_figure(path, figure)


def _gain_panel(axis: Axes, rows: pd.DataFrame) -> None:
    for n, (score, title) in enumerate(SCORES.items()):
        axis.barh(
            np.arange(len(rows)) + (n - 0.5) * BAR_HEIGHT,
            rows[f"{score}_gain"].to_numpy(float),
            xerr=ERRORS_SHOWN * rows[f"{score}_gain_error"].to_numpy(float),
            height=BAR_HEIGHT,
            color=COLOURS[score],
            label=title,
            error_kw={"elinewidth": 0.8, "ecolor": "0.25"},
        )
    axis.axvline(0, color="black", linewidth=0.8)
    axis.grid(axis="x", color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


# How alike images of the same class are, and of different ones.


BINS = 80
SAME_COLOUR, DIFFERENT_COLOUR = "tab:blue", "tab:orange"


@dataclass(frozen=True, kw_only=True)
class SimilarityPanel:
    """Cosines of pairs, and the threshold that parts them best."""

    title: str
    same: NDArray[np.float32]
    different: NDArray[np.float32]
    threshold: float


def save_similarity_histogram(path: Path, panels: Sequence[SimilarityPanel]) -> None:
    """One panel below the other, on one scale of cosines. Each kind's area is 1."""
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7, 0.8 + 2.1 * len(panels)),
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    everything = np.concatenate([cosines for p in panels for cosines in (p.same, p.different)])
    bins = np.linspace(float(everything.min()), float(everything.max()) + 1e-6, BINS + 1).tolist()
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _draw(axis, panel, bins)
    axes[-1, 0].set_xlabel("cosine of two embeddings")
    save_figure(path, figure)


def _draw(axis: Axes, panel: SimilarityPanel, bins: list[float]) -> None:
    kinds = (
        ("different classes", panel.different, DIFFERENT_COLOUR),
        ("same class", panel.same, SAME_COLOUR),
    )
    for name, cosines, colour in kinds:
        label = f"{name} ({len(cosines):,} pairs)"
        axis.hist(
            cosines, bins=bins, density=True, histtype="stepfilled",
            alpha=0.6, color=colour, label=label,
        )  # fmt: skip
    said = f"threshold {panel.threshold:.3f}"
    axis.axvline(panel.threshold, color="black", linestyle="--", linewidth=1, label=said)
    axis.set_title(panel.title, fontsize=9)
    axis.set_ylabel("density")
    axis.set_yticks([])
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)


# Queries beside the wrong image that is nearest to them.


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Pictures H x W x 3 in 0..1; ids and classes as they should be read."""

    query: NDArray[np.float32]
    query_id: str
    query_class: str
    nearest: NDArray[np.float32]
    nearest_id: str
    nearest_class: str
    similarity: float


def save_confusions(path: Path, confusions: Sequence[Confusion], *, title: str) -> None:
    """At least one; each query with its nearest to the right of it, in the order given."""
    figure, places = pair_grid(len(confusions), title=title)
    for confusion, (left, right) in zip(confusions, places, strict=True):
        _draw_image(left, confusion.query, f"query {confusion.query_id}", confusion.query_class)
        said = f"{confusion.similarity:.3f} {confusion.nearest_id}"
        _draw_image(right, confusion.nearest, said, confusion.nearest_class)
    save_figure(path, figure)


def _draw_image(axis: Axes, picture: NDArray[np.float32], said: str, class_name: str) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(f"{shortened(said)}\n{shortened(class_name)}", fontsize=7)
