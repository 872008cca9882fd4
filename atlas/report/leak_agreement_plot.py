"""Leak tables in pairs: how often they agree, and how far each repeats the rest."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from atlas.report.figures import dress, panels, save_figure, shortened

NAME_LETTERS = 24


def save_agreement_plot(path: Path, agreement: pd.DataFrame, trust: pd.DataFrame) -> None:
    """Left a map of the pairs, right each table beside the consensus of the others.

    agreement: table, other, shared, equal; a row for each pair. trust: table, share, low, high; a
    row for each table. A table that nobody judges has no share and an interval of all of 0 to 1.
    """
    count = len(trust)
    size_inches = (4.5 + 1.7 * count, 1.4 + 0.75 * count)
    figure, ((left, right),) = panels(1, 2, size_inches, sharey=True, width_ratios=[count, 2])
    _draw_pairs(left, agreement, list(trust["table"]))
    _draw_trust(right, trust)
    short = [shortened(name, NAME_LETTERS) for name in trust["table"]]
    left.set_xticks(range(count), short, rotation=20, ha="right")
    left.set_yticks(range(count), short)
    left.tick_params(labelsize=8)
    save_figure(path, figure)


def _draw_pairs(axis: Axes, agreement: pd.DataFrame, names: list[str]) -> None:
    """A pair that shares nothing, and a table with itself, stay white."""
    share_TT = np.full((len(names), len(names)), np.nan)
    for pair in agreement.to_dict("records"):
        equal, shared = pair["equal"], pair["shared"]
        a, b = names.index(pair["table"]), names.index(pair["other"])
        share_TT[a, b] = share_TT[b, a] = equal / shared if shared else np.nan
        for x, y in ((a, b), (b, a)):
            ink = "white" if share_TT[a, b] < 0.5 else "black"
            axis.text(x, y, f"{equal} of\n{shared}", ha="center", va="center", fontsize=8,
                      color=ink)  # fmt: skip
    axis.imshow(share_TT, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axis.set_title("equal label sets, of shared ids", fontsize=9)


def _draw_trust(axis: Axes, trust: pd.DataFrame) -> None:
    places = np.arange(len(trust))
    axis.hlines(places, trust["low"], trust["high"], color="0.35", linewidth=2)
    axis.scatter(trust["share"], places, s=36, color="tab:blue", zorder=3)
    axis.set_xlim(-0.02, 1.02)
    dress(axis, title="repeats the others (95%)")
