"""What all commands share on a terminal: tables, notes, and the cost of each stage."""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from atlas.core.escaping import escaped
from atlas.core.progress import say
from atlas.core.timing import Recorder, costs, covered_s, recorded

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

# OpenMP's threads spin while they wait, which made training up to 8 times slower next to other
# work. torch reads the variable when it is loaded. albumentations would look for updates online.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

PACKAGES = ("atlas", "retrieval", "index", "classify")
FILE_WIDTH = 160  # the width of tables if stdout is not a terminal


def show_notes() -> None:
    """Show what the packages log; calling it again has no effect."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Notes) for handler in logger.handlers):
            logger.addHandler(_Notes())
            logger.setLevel(logging.INFO)


def show(*lines: str) -> None:
    """Print lines, in which control characters are shown as escapes.

    Everything that commands print goes through this function or `show_table`, because ids, labels
    and file names may hold anything.
    """
    for line in lines:
        print(escaped(line), flush=True)


def terminal() -> "Console":
    """Return the console for tables; they have a fixed width if stdout is not a terminal.

    Texts are shown as they are: square brackets are not markup and `:name:` is not an emoji.
    """
    from rich.console import Console

    width = None if Console().is_terminal else FILE_WIDTH
    return Console(width=width, markup=False, emoji=False, highlight=False)


def show_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[object]],
    *,
    title: str | None = None,
    justify: Literal["left", "right"] = "left",
    last: Iterable[int] = (),
) -> None:
    """Print a table; cells that are too wide are wrapped, never cut off.

    Args:
        columns: The headings; empty for a table without headings.
        rows: The cells.
        title: The title above the table.
        justify: The alignment of all columns but the first.
        last: The numbers of rows below which a line is drawn.
    """
    from rich.table import Table

    heads, ends = list(columns), set(last)
    table = Table(title=title and escaped(title), title_justify="left", show_header=bool(heads))
    for n, head in enumerate(heads):
        table.add_column(escaped(head), overflow="fold", justify=justify if n else "left")
    for n, row in enumerate(rows):
        table.add_row(*(escaped(str(cell)) for cell in row), end_section=n in ends)
    terminal().print(table)


def show_frame(frame: "pd.DataFrame", *, title: str | None = None) -> None:
    """Print a pandas table, with three decimals."""
    rows = (
        [f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row]
        for row in frame.itertuples(index=False)
    )
    show_table([name.replace("_", " ") for name in frame.columns], rows, title=title)


@contextmanager
def profiled(profile: bool) -> Iterator[None]:
    """Print what each stage of the command took, if `profile` is set."""
    if not profile:
        yield
        return
    with recorded() as recorder:
        yield
    _show_stages(recorder, time.perf_counter() - recorder.began)


class _Notes(logging.Handler):
    """Prints each note as a line on stderr, above the progress bars; warnings are marked."""

    def emit(self, record: logging.LogRecord) -> None:
        warns = record.levelno >= logging.WARNING
        say(f"warning: {self.format(record)}" if warns else self.format(record))


def _show_stages(recorder: Recorder, total_s: float) -> None:
    stages = costs(recorder.spans)
    rows = []
    for cost in stages:
        speed = f"{cost.items / cost.wall_s:,.1f}" if cost.items and cost.wall_s else ""
        seconds = (f"{s:.2f}" for s in (cost.busy_s, cost.wall_s, cost.alone_s))
        rows.append([cost.stage, f"{cost.items:,}" if cost.items else "", *seconds, speed])
    elsewhere = f"{total_s - covered_s(recorder.spans):.2f}"
    rows.append(["elsewhere", "", "", elsewhere, elsewhere, ""])
    columns = ("stage", "items", "busy s", "wall s", "alone s", "items/s")
    show_table(columns, rows, justify="right")
    if stages:
        slowest = max(stages, key=lambda cost: cost.alone_s)
        show(
            f"The bottleneck is '{slowest.stage}', which ran alone for {slowest.alone_s:.1f} of "
            f"{total_s:.1f} s."
        )
