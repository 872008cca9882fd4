"""Measurements of how a task grows with its size: a table, and plots over the size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.side_by_side import about_machine, save_report


def save_growth(
    folder: Path,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    lines: str,
    heights: Sequence[str],
    packages: Sequence[str],
) -> None:
    """Write name.csv, name.md and name.png, and print the second; the first column has the sizes.

    `lines` is the column that names a line of the plot, `heights` are the columns that are drawn
    (one panel each), and `packages` are those whose versions are reported.
    """
    table = pd.DataFrame(rows)
    parts = [about_machine(packages), markdown(table)]
    save_report(folder, name, table, parts, plot(table, lines, heights))


def markdown(table: pd.DataFrame) -> str:
    rows = [[_text(value) for value in row] for row in table.itertuples(index=False)]
    under = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes]
    return "\n".join("| " + " | ".join(row) + " |" for row in ([*map(str, table)], under, *rows))


def plot(table: pd.DataFrame, lines: str, heights: Sequence[str]) -> Figure:
    size = table.columns[0]
    figure = Figure(figsize=(4 * len(heights) + 1, 3.2), layout="constrained")
    for axis, height in zip(figure.subplots(1, len(heights)), heights, strict=True):
        for label, rows in table.groupby(lines, sort=False):
            axis.plot(rows[size], rows[height], marker="o", label=label)
        axis.set(xscale="log", yscale="log", xlabel=size, ylabel=height)
        axis.spines[["top", "right"]].set_visible(False)
    names = axis.get_legend_handles_labels()
    figure.legend(*names, loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"
