"""What every command does alike: read arguments, run, and tell a user's mistake in one line."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tyro

from atlas.core.errors import UserError
from atlas.core.timing import Recorder, costs, covered_s, recorded

# OpenMP's threads spin while they wait; beside other work that made training up to 8 times slower.
# Read when torch is loaded, so it is set before. albumentations would ask the network for updates.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if not sys.stderr.isatty():  # a log wants a line now and then, not ten a second
    os.environ.setdefault("TQDM_MININTERVAL", "30")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def run(main: Callable[..., Any]) -> None:
    """Calls `main` with the command line's arguments; exits 1 with the text of a UserError."""
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or ''}: {error.strerror or error}; nothing was replaced")
    except KeyboardInterrupt:
        sys.exit("stopped; run the same command again: what is finished is kept")


@contextmanager
def profiled(profile: bool) -> Iterator[None]:
    """Prints at the end, where asked to, what each stage of the command took."""
    if not profile:
        yield
        return
    with recorded() as recorder:
        yield
    _print_stages(recorder, time.perf_counter() - recorder.began)


def _print_stages(recorder: Recorder, total_s: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("stage")
    for column in ("items", "busy s", "wall s", "alone s", "items/s"):
        table.add_column(column, justify="right")
    stages = costs(recorder.spans)
    for cost in stages:
        speed = f"{cost.items / cost.wall_s:,.1f}" if cost.items and cost.wall_s else ""
        seconds = (f"{s:.2f}" for s in (cost.busy_s, cost.wall_s, cost.alone_s))
        table.add_row(cost.stage, f"{cost.items:,}" if cost.items else "", *seconds, speed)
    elsewhere_s = total_s - covered_s(recorder.spans)
    table.add_row("elsewhere", "", "", f"{elsewhere_s:.2f}", f"{elsewhere_s:.2f}", "")
    console = Console()
    console.print(table)
    if stages:
        slowest = max(stages, key=lambda cost: cost.alone_s)
        console.print(
            f"{slowest.stage} holds the rest: nothing else was under way for "
            f"{slowest.alone_s:.1f} of {total_s:.1f} s",
            highlight=False,
        )
