"""How many copies each method finds, and how many other images it claims; and which edits."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes

from atlas.core.files import written_beside
from benchmarks.leaks.claims import OURS

matplotlib.use("Agg")  # files only: no window, no display
from matplotlib import pyplot as plt

FOUND, FALSE, RIVAL = "tab:blue", "tab:red", "tab:gray"
ROW_INCHES, PANEL_INCHES = 0.24, 3.4


def save_plot(path: Path, scores: pd.DataFrame) -> None:
    """Draw what each method finds and claims wrongly.

    Args:
        path: The picture.
        scores: The rows of scores.csv.
    """
    methods = list(scores["method"].unique())[::-1]
    draw = partial(_draw, methods=methods)
    _save_panels(path, scores, len(methods), draw, same_rows=True)


def save_edits_plot(path: Path, by_edit: pd.DataFrame) -> None:
    """Draw what this project finds of each edit, beside the rival that finds most of it.

    Args:
        path: The picture.
        by_edit: The rows of by_edit.csv.
    """
    most = int(by_edit.groupby("hardness")["edit"].nunique().max())
    _save_panels(path, by_edit, most, _draw_edits, same_rows=False)


def _save_panels(
    path: Path,
    table: pd.DataFrame,
    rows: int,
    draw: Callable[[Axes, pd.DataFrame], None],
    *,
    same_rows: bool,
) -> None:
    """Draw a panel for each atlas (down) and hardness (across)."""
    atlases, hardnesses = (list(table[name].unique()) for name in ("atlas", "hardness"))
    size = (2 + PANEL_INCHES * len(hardnesses), (1.5 + ROW_INCHES * rows) * len(atlases))
    figure, axes = plt.subplots(
        len(atlases), len(hardnesses), figsize=size, squeeze=False, sharex=True, sharey=same_rows,
        layout="constrained",
    )  # fmt: skip
    for row, atlas in zip(axes, atlases, strict=True):
        for ax, hardness in zip(row, hardnesses, strict=True):
            cell = table[(table["atlas"] == atlas) & (table["hardness"] == hardness)]
            draw(ax, cell)
            ax.set_xlim(-0.03, 1.03)
            ax.grid(axis="x", alpha=0.3)
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


def _draw_edits(ax: Axes, cell: pd.DataFrame) -> None:
    edits = list(cell["edit"].unique())[::-1]
    ours = cell[cell["method"] == OURS]
    rivals = cell[cell["method"] != OURS].sort_values("count", ascending=False, kind="stable")
    for rows, colour, offset, label in (
        (ours, FOUND, 0.12, "this project"),
        (rivals.drop_duplicates("edit"), RIVAL, -0.12, "the best other method for the edit"),
    ):
        share = rows["count"] / rows["of"]
        at = [edits.index(edit) + offset for edit in rows["edit"]]
        spread = [share - rows["low"], rows["high"] - share]
        ax.errorbar(share, at, xerr=spread, fmt="o", ms=4, lw=1, color=colour, label=label)
    ax.set_yticks(range(len(edits)), edits, fontsize=8)
