"""Figures with a common style: panels, axes, and PNG files."""

import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter
from numpy.typing import NDArray

from atlas.core.escaping import escaped
from atlas.core.files import written_beside

NAME_LETTERS = 36  # this fits over a picture, and is the length of a UUID
PAGE_DPI, FILE_DPI = 110, 120

Panels = NDArray[Any]  # of Axes


def panels(
    rows: int,
    columns: int,
    size_inches: tuple[float, float],
    *,
    sharex: bool = False,
    sharey: bool = False,
    width_ratios: list[float] | None = None,
) -> tuple[Figure, Panels]:
    """Return a figure and its axes, rows x columns."""
    figure = Figure(figsize=size_inches, layout="constrained")
    axes = figure.subplots(
        rows, columns, sharex=sharex, sharey=sharey, squeeze=False, width_ratios=width_ratios
    )
    return figure, axes


def dress(axis: Axes, *, grid: str = "x", title: str = "") -> None:
    """Draw a faint grid behind the data along "x", "y" or "both", and remove the frame."""
    axis.grid(axis=grid, color="0.91", linewidth=0.7)  # type: ignore[arg-type]
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    if title:
        axis.set_title(title, fontsize=9)


def save_figure(path: Path, figure: Figure) -> None:
    """Save a PNG without a date, so that equal work gives equal bytes."""
    _take_texts_literally(figure)
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=FILE_DPI, metadata={"Software": None})


def png_of(figure: Figure) -> bytes:
    """Return a PNG for a page."""
    _take_texts_literally(figure)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=PAGE_DPI, metadata={"Software": None})
    return png.getvalue()


def shortened(text: str, letters: int = NAME_LETTERS) -> str:
    """Return a text with escapes for control characters, or its beginning followed by dots."""
    text = escaped(text, keep="\n")
    return text if len(text) <= letters else text[: letters - 3] + "..."


def _take_texts_literally(figure: Figure) -> None:
    """Draw names with dollar signs and control characters as they are, and not as formulas.

    Numbers on axes are left alone, because matplotlib writes powers of ten as formulas.
    """
    numbers = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if not isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    }
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in numbers:
            text.set_parse_math(False)
            text.set_text(escaped(text.get_text()))
