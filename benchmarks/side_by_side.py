"""Several ways of doing one thing, measured in alternation: rates, ratios, a table and a plot.

Each round runs every way once, every second round in reverse order, so that a machine that slows
down slows all of them. The first round is a warm-up and does not count. Axes: W ways, R rounds.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atlas.core.files import written_beside
from atlas.dataset.artifacts import save_table

ROUNDS = 5
Measure = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The rates of several ways (higher is better); ratios refer to the first way."""

    title: str
    unit: str
    ways: tuple[str, ...]
    rates_WR: NDArray[np.float64]

    @property
    def ratios_WR(self) -> NDArray[np.float64]:
        """Round by round, so that what slowed both is not counted for either."""
        return self.rates_WR / self.rates_WR[:1]


def compare(
    title: str, ways: Mapping[str, Measure], *, unit: str, rounds: int = ROUNDS
) -> Comparison:
    """Compare ways; each does the work once and returns its rate, see `rate_of`."""
    rates_WR = np.zeros((len(ways), rounds))
    numbered = list(enumerate(ways.values()))
    for number in range(-1, rounds):
        for way, measure in numbered if number % 2 else reversed(numbered):
            rate = measure()
            if number >= 0:
                rates_WR[way, number] = rate
    return Comparison(title=title, unit=unit, ways=tuple(ways), rates_WR=rates_WR)


def rate_of(items: float, work: Callable[[], object]) -> float:
    """Return the items per second of `work`, which processes this many items."""
    start = time.perf_counter()
    work()
    return items / (time.perf_counter() - start)


@contextmanager
def own_process(
    environment: Mapping[str, str] = MappingProxyType({}), *, cores: int | None = None
) -> Iterator[Callable[..., Any]]:
    """A process that may use so many cores and was started with these variables set; gives what
    calls functions in it.

    For what stays with a process: the allocator's settings, numbers of threads, loaded libraries.
    """
    own_cores = os.sched_getaffinity(0)
    before = {name: os.environ.get(name) for name in environment}
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        os.environ.update(environment)
        os.sched_setaffinity(0, sorted(own_cores)[:cores])
        try:
            pool.submit(int).result()  # it starts now, and inherits both
        finally:
            os.sched_setaffinity(0, own_cores)
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def save(
    folder: Path, name: str, comparisons: Sequence[Comparison], *, packages: Sequence[str]
) -> None:
    """Writes name.csv (a row for each measurement), name.md and name.png, and prints the second.

    packages: whose versions are reported.
    """
    about = f"{about_machine(packages)} Medians, and least and most, of rounds in alternation."
    save_report(
        folder, name, measurements(comparisons), [about, *map(markdown, comparisons)],
        plot(comparisons),
    )  # fmt: skip


def save_report(
    folder: Path, name: str, table: pd.DataFrame, parts: Sequence[str], figure: Figure
) -> None:
    """Writes name.csv, name.md and name.png, and prints the second."""
    save_table(folder / f"{name}.csv", table)
    text = "\n\n".join([f"# {name}", *parts]) + "\n"
    with written_beside(folder / f"{name}.md") as beside:
        beside.write_text(text, encoding="utf-8")
    with written_beside(folder / f"{name}.png") as beside:
        figure.savefig(beside, dpi=100, metadata={"Software": None})
    print(text)


def measurements(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (one.title, way, number + 1, one.unit, rate)
            for one in comparisons
            for way, rates_R in zip(one.ways, one.rates_WR, strict=True)
            for number, rate in enumerate(rates_R)
        ],
        columns=["comparison", "way", "round", "unit", "rate"],
    )


def markdown(comparison: Comparison) -> str:
    """A table of medians with least and most, and of ratios to the first way."""
    first = comparison.ways[0]
    lines = [
        f"## {comparison.title}\n",
        f"| way | {comparison.unit} (least to most) | times {first} (least to most) |",
        "|---|---:|---:|",
    ]
    for way, rates_R, ratios_R in zip(
        comparison.ways, comparison.rates_WR, comparison.ratios_WR, strict=True
    ):
        lines.append(f"| {way} | {spread(rates_R)} | {spread(ratios_R)} |")
    return "\n".join(lines)


def spread(values_R: NDArray[np.float64]) -> str:
    """Return median, minimum and maximum, with three significant digits."""
    return "{} ({} to {})".format(*(_short(f(values_R)) for f in (np.median, np.min, np.max)))


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def about_machine(packages: Sequence[str]) -> str:
    """Return the processor, its instruction sets, the memory, and versions."""
    info = _processor_lines()
    features = sorted(
        {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
        & set(info.get("flags", "").split())
    )
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{info.get('model name', platform.processor() or platform.machine())}, "
        f"{os.cpu_count()} cores ({', '.join(features)}), {memory_gib:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"{versions}."
    )


def _processor_lines() -> dict[str, str]:
    """Of the first core, on Linux; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8").split("\n\n")[0] if path.exists() else ""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def plot(comparisons: Sequence[Comparison]) -> Figure:
    """A bar for the median of each way, with a line from least to most."""
    heights = [0.6 + 0.3 * len(one.ways) for one in comparisons]
    figure = Figure(figsize=(8, sum(heights) + 0.4 * len(heights)), layout="constrained")
    axes = figure.subplots(len(comparisons), squeeze=False, height_ratios=heights)[:, 0]
    for axis, one in zip(axes, comparisons, strict=True):
        median_W = np.median(one.rates_WR, axis=1)
        ends_2W = np.stack([median_W - one.rates_WR.min(1), one.rates_WR.max(1) - median_W])
        axis.barh(one.ways, median_W, xerr=ends_2W, color="#4878a8", ecolor="#202020", height=0.7)
        axis.invert_yaxis()
        axis.set_title(one.title, loc="left", fontsize=10)
        axis.set_xlabel(one.unit, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
