"""How much each of several ways gains over the first of them."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from report.pictures import save_figure

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
        _panel(axis, rows.loc[names])
        axis.set_title(f"{protocol} ({rows['queries'].iloc[0]} queries)", fontsize=9)
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.supxlabel(f"gain over {first}, ± {ERRORS_SHOWN} standard errors", fontsize=9)
    figure.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    save_figure(path, figure)


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
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
