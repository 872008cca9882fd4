"""What all commands do alike on a terminal: tables, notes, errors, and what each stage took."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from atlas.core.errors import UserError
from atlas.core.timing import Recorder, costs, covered_s, recorded

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

# OpenMP's threads spin while they wait; beside other work that made training up to 8 times slower.
# Read when torch is loaded, so it is set before. albumentations would ask the network for updates.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if not sys.stderr.isatty():  # a log wants a line now and then, not ten a second
    os.environ.setdefault("TQDM_MININTERVAL", "30")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

PACKAGES = ("atlas", "retrieval", "index", "classify")
FILE_WIDTH = 160  # of tables where stdout is no terminal


def show_notes() -> None:
    """Show what the packages log. Does nothing the second time."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Notes) for handler in logger.handlers):
            logger.addHandler(_Notes())
            logger.setLevel(logging.INFO)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Exit with status 1 and the text of what the user, or the disk, did wrong."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or ''}: {error.strerror or error}; nothing was replaced")
    except KeyboardInterrupt:
        sys.exit("stopped; run the same command again: what is finished is kept")


def terminal() -> "Console":
    """Return where tables go; they have one width where stdout is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)


def show_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[object]],
    *,
    title: str | None = None,
    justify: Literal["left", "right"] = "left",
    last: Iterable[int] = (),
) -> None:
    """Print a table; every cell is whole, on several lines where it is too wide.

    Args:
        columns: The headings; none where there are none.
        rows: The cells.
        title: Stands above, at the left.
        justify: Of all columns but the first.
        last: Numbers of rows below which a line is drawn.
    """
    from rich.table import Table

    heads, ends = list(columns), set(last)
    table = Table(title=title, title_justify="left", show_header=bool(heads))
    for n, head in enumerate(heads):
        table.add_column(head, overflow="fold", justify=justify if n else "left")
    for n, row in enumerate(rows):
        table.add_row(*map(str, row), end_section=n in ends)
    terminal().print(table)


def show_frame(frame: "pd.DataFrame", *, title: str | None = None) -> None:
    """Print a pandas table, its numbers with three digits behind the point."""
    rows = (
        [f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row]
        for row in frame.itertuples(index=False)
    )
    show_table([name.replace("_", " ") for name in frame.columns], rows, title=title)


@contextmanager
def profiled(profile: bool) -> Iterator[None]:
    """Print at the end, where asked to, what each stage of the command took."""
    if not profile:
        yield
        return
    with recorded() as recorder:
        yield
    _show_stages(recorder, time.perf_counter() - recorder.began)


class _Notes(logging.Handler):
    """Writes each note as a plain line on stderr, wherever that leads at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


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
        print(
            f"{slowest.stage} is the bottleneck: nothing else was under way for "
            f"{slowest.alone_s:.1f} of {total_s:.1f} s"
        )
