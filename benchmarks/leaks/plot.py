"""How many copies each method finds, and how many other images it claims."""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes

from atlas.core.files import written_beside

matplotlib.use("Agg")  # files only: no window, no display
from matplotlib import pyplot as plt

FOUND, FALSE = "tab:blue", "tab:red"
ROW_INCHES, PANEL_INCHES = 0.24, 3.4


def save_plot(path: Path, scores: pd.DataFrame) -> None:
    """A panel for each atlas (down) and hardness (across); scores: scores.csv."""
    atlases, hardnesses = (list(scores[name].unique()) for name in ("atlas", "hardness"))
    methods = list(scores["method"].unique())[::-1]
    size = (2 + PANEL_INCHES * len(hardnesses), (1.5 + ROW_INCHES * len(methods)) * len(atlases))
    figure, axes = plt.subplots(
        len(atlases), len(hardnesses), figsize=size, squeeze=False, sharex=True, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for row, atlas in zip(axes, atlases, strict=True):
        for ax, hardness in zip(row, hardnesses, strict=True):
            cell = scores[(scores["atlas"] == atlas) & (scores["hardness"] == hardness)]
            _draw(ax, cell, methods)
            ax.set_title(f"{atlas}, {hardness}", fontsize=9)
    for ax in axes[-1]:
        ax.set_xlabel("share, with 95% interval")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _draw(ax: Axes, cell: pd.DataFrame, methods: list[str]) -> None:
    places = [methods.index(method) for method in cell["method"]]
    kinds = (
        ("found", "copies", FOUND, 0.12, "copies found"),
        ("false", "others", FALSE, -0.12, "others claimed"),
    )
    for name, of, colour, offset, label in kinds:
        share = cell[name] / cell[of]
        spread = [share - cell[f"{name}_low"], cell[f"{name}_high"] - share]
        at = [place + offset for place in places]
        ax.errorbar(share, at, xerr=spread, fmt="o", ms=4, lw=1, color=colour, label=label)
    ax.set_yticks(range(len(methods)), methods, fontsize=8)
    ax.set_xlim(-0.03, 1.03)
    ax.grid(axis="x", alpha=0.3)
