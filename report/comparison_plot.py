"""Runs of several kinds side by side: a dot for each run, a bar for their mean."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from report.pictures import save_figure

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
