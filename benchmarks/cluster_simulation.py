"""How the main job scales to 1,000 workers: a discrete-event simulation with measured rates.

Workers take parts of one stage after the other, as the Ray executor hands them out: they read their
part from shared storage, compute it, and write the rows. Storage has a total bandwidth. Workers
fail at random, and their part is handed out again. The command that started them does
some work alone, and spends some microseconds on each row of every stage.

    python -m benchmarks.cluster_simulation --out R

The rates are those of docs/performance.md: the tables "With today's registration" and "A rehearsal
at full size", "Decoding", and "Embedding from a decoded store", divided by the two cores that they
were measured with. They are parameters, because every machine has its own.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simpy
import tyro
from matplotlib.figure import Figure

from atlas.core.files import written_beside
from atlas.dataset.artifacts import save_table

WORKERS = (1, 10, 30, 100, 300, 1000)
SHOWN_WORKERS = 100
SIZES = (10**7, 10**8, 10**9)
PARTS_EACH = 4  # as the Ray executor has it
MEASURED_CORES = 2
REFERENCES_MEASURED = 31_072  # of the rates at which candidates are searched


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Images per second, and bytes of each image.

    Args:
        decoding: Images per second and core, of four PNGs of 512 px.
        comparing_channels: Images per second of a worker, which uses one core for this.
        network: Images per second and core, ResNet50 at 256 px in bfloat16 by OpenVINO.
        hashing: Images per second and core.
        sketching: Images per second and core.
        registering: Queries per second and core, with 25 candidates each.
        headers: Images per second whose files the command looks at, alone.
        indexing: References per second whose keypoints the command puts into lists, alone.
        voting: Queries per second whose keypoints two cores search among 31,072 references.
        neighbours: Queries per second whose vectors the command searches among as many, alone.
        row_us: Microseconds that the command spends on each row of a stage.
        row_bytes: Bytes of its memory for each row of a stage.
        file_bytes: The files of an image.
        pixel_bytes: A decoded image, 4 x 256 x 256 px.
        vector_bytes: A vector of 512 dimensions.
        sketch_bytes: A sketch.
        keypoint_bytes: The keypoints of a reference in lists, which each worker loads.
    """

    decoding: float = 166
    comparing_channels: float = 437
    network: float = 20
    hashing: float = 315
    sketching: float = 125
    registering: float = 73
    headers: float = 954
    indexing: float = 380
    voting: float = 290
    neighbours: float = 9_010
    row_us: float = 15
    row_bytes: float = 550
    file_bytes: float = 350_000
    pixel_bytes: float = 262_144
    vector_bytes: float = 2_048
    sketch_bytes: float = 53_000
    keypoint_bytes: float = 8_300


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The machines.

    Args:
        cores: Cores of a worker.
        storage_gb_s: What the shared storage reads or writes in a second, in all.
        link_gb_s: What one worker reads or writes in a second.
        hours_between_failures: Mean time until a worker fails.
        restart_s: Time until a lost worker works again.
        spread: Standard deviation of the speed of workers, as a share.
    """

    cores: int = 16
    storage_gb_s: float = 10.0
    link_gb_s: float = 1.0
    hours_between_failures: float = 500.0
    restart_s: float = 120.0
    spread: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What machines and storage cost, in any currency.

    Args:
        core_hour: A core for an hour.
        gb_month: A gigabyte of shared storage for a month.
    """

    core_hour: float = 0.04
    gb_month: float = 0.08


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of the job.

    Attributes:
        name: Its name.
        items: The number of images or queries.
        core_s: Seconds of one core for an item.
        cores: How many cores of a worker it can use; None for all.
        read, written: Bytes of an item.
        alone_s: Seconds that the command works alone before it.
        loaded: Bytes that each worker reads once.
        rows: The largest number of rows of a part.
    """

    name: str
    items: int
    core_s: float
    cores: int | None = None
    read: float = 0
    written: float = 0
    alone_s: float = 0
    loaded: float = 0
    rows: int = 1000


@dataclass(frozen=True, kw_only=True)
class Design:
    """Who does what does not belong to single images.

    Attributes:
        name: Its name in tables.
        votes: Whether workers count the votes of keypoints; otherwise the command does.
        lists_grow: Whether there are more lists of keypoints if there are more references, so that
            a query costs the same, and whether workers fill the lists and read only those that
            they search.
        headers: Whether workers look at the files.
        neighbours: Whether another service, such as a vector database, searches vectors.
    """

    name: str
    votes: bool = True
    lists_grow: bool = False
    headers: bool = False
    neighbours: bool = False


DESIGNS = (
    Design(name="votes by the command", votes=False),
    Design(name="today"),
    Design(name="next", lists_grow=True, headers=True, neighbours=True),
)


def stages(images: int, rates: Rates, test_share: float, design: Design) -> list[Stage]:
    """Return the stages of `build-index` and `find-leaks` in order."""
    queries = round(images * test_share)
    references = images - queries
    growth = references / REFERENCES_MEASURED  # the search of candidates is linear in it
    vote_core_s = (1 if design.lists_grow else growth) * MEASURED_CORES / rates.voting
    indexing_s = references / rates.indexing
    vote_core_s += MEASURED_CORES * indexing_s / queries if design.lists_grow else 0
    alone_s = 0 if design.lists_grow else indexing_s
    alone_s += 0 if design.votes else queries * vote_core_s / MEASURED_CORES
    alone_s += 0 if design.neighbours else queries * growth / rates.neighbours
    headers_s = 0 if design.headers else images / rates.headers
    pixels, fits = rates.pixel_bytes, max(1, (32 << 20) // round(rates.pixel_bytes))
    steps = [
        Stage(name="reading files", items=images, core_s=1e-4, read=rates.file_bytes,
              alone_s=headers_s),
        Stage(name="decoding", items=images, core_s=1 / rates.decoding, read=rates.file_bytes,
              written=pixels, rows=fits),
        Stage(name="comparing channels", items=images, core_s=1 / rates.comparing_channels,
              cores=1, read=pixels, rows=fits),
        Stage(name="embedding", items=images, core_s=1 / rates.network, read=pixels,
              written=rates.vector_bytes),
        Stage(name="hashing", items=images, core_s=1 / rates.hashing, read=pixels, written=1024),
        Stage(name="sketching", items=images, core_s=1 / rates.sketching, read=pixels,
              written=rates.sketch_bytes, rows=500),
        Stage(name="voting", items=queries, core_s=vote_core_s, read=rates.sketch_bytes,
              written=800, alone_s=alone_s,
              loaded=0 if design.lists_grow else references * rates.keypoint_bytes),
        Stage(name="registering", items=queries, core_s=1 / rates.registering,
              read=26 * rates.sketch_bytes + 1.4 * pixels),
    ]  # fmt: skip
    if design.votes:
        return steps
    return [replace(one, items=16, loaded=0) if one.name == "voting" else one for one in steps]


@dataclass
class _Measured:
    """What happened in a stage, in seconds; busy times are added up over workers."""

    wall_s: float = 0.0
    alone_s: float = 0.0
    computing_s: float = 0.0
    waiting_s: float = 0.0
    tail_s: float = 0.0
    lost: int = 0
    ends: list[float] = field(default_factory=list)


def simulate(stage: Stage, workers: int, cluster: Cluster, rates: Rates, seed: int) -> _Measured:
    """Simulate one stage, and return what happened."""
    environment, random = simpy.Environment(), np.random.default_rng(seed)
    size = min(stage.rows, max(16, math.ceil(stage.items / (PARTS_EACH * workers))))
    parts = [size] * (stage.items // size) + [stage.items % size] * bool(stage.items % size)
    # So many transfers at the speed of a link take the whole bandwidth; others wait.
    storage = simpy.Resource(environment, max(1, round(cluster.storage_gb_s / cluster.link_gb_s)))
    command = simpy.Resource(environment, 1)
    speed_W = np.maximum(0.3, random.normal(1, cluster.spread, workers))
    found = _Measured(alone_s=stage.alone_s)
    for worker in range(workers):
        environment.process(
            _worker(environment, worker, parts, stage, cluster, rates, storage, command,
                    speed_W[worker], random, found)
        )  # fmt: skip
    environment.run()
    found.wall_s = stage.alone_s + max(found.ends)
    found.tail_s = max(found.ends) - float(np.median(found.ends))
    return found


def _worker(
    environment: simpy.Environment,
    number: int,
    parts: list[int],
    stage: Stage,
    cluster: Cluster,
    rates: Rates,
    storage: simpy.Resource,
    command: simpy.Resource,
    speed: float,
    random: np.random.Generator,
    found: _Measured,
) -> Generator[Any, Any, None]:
    """Take parts until none is left. A failure loses the part that is under way."""
    fails_at = random.exponential(cluster.hours_between_failures * 3600)
    each_gb_s = min(cluster.link_gb_s, cluster.storage_gb_s)
    cores = stage.cores or cluster.cores
    yield from _transfer(environment, storage, stage.loaded / each_gb_s / 1e9, found)
    while parts:
        rows = parts.pop()
        with command.request() as turn:  # the part is sent
            yield turn
            yield environment.timeout(rows * rates.row_us * 1e-6)
        yield from _transfer(environment, storage, rows * stage.read / each_gb_s / 1e9, found)
        computing_s = rows * stage.core_s / min(cores, cluster.cores) / speed
        yield environment.timeout(computing_s)
        if environment.now > fails_at:
            parts.append(rows)
            found.lost += 1
            yield environment.timeout(cluster.restart_s)
            fails_at = environment.now + random.exponential(cluster.hours_between_failures * 3600)
            continue
        found.computing_s += computing_s
        yield from _transfer(environment, storage, rows * stage.written / each_gb_s / 1e9, found)
    found.ends.append(environment.now)


def _transfer(
    environment: simpy.Environment, storage: simpy.Resource, seconds: float, found: _Measured
) -> Generator[Any, Any, None]:
    began = environment.now
    with storage.request() as turn:
        yield turn
        yield environment.timeout(seconds)
    found.waiting_s += environment.now - began


def scaled(
    images: int, rates: Rates, cluster: Cluster, design: Design, test_share: float, seed: int
) -> pd.DataFrame:
    """Return a row for each number of workers and stage."""
    rows = []
    for workers in WORKERS:
        for stage in stages(images, rates, test_share, design):
            one = simulate(stage, workers, cluster, rates, seed)
            rows.append({
                "workers": workers, "stage": stage.name, "hours": one.wall_s / 3600,
                "alone_hours": one.alone_s / 3600,
                "waiting_share": one.waiting_s / max(1e-9, one.waiting_s + one.computing_s),
                "straggler_s": one.tail_s, "lost_parts": one.lost,
                "bottleneck": _bottleneck(stage, one, workers, rates, cluster),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _bottleneck(stage: Stage, one: _Measured, workers: int, rates: Rates, cluster: Cluster) -> str:
    """Return what would have to be faster for the stage to be faster."""
    sent_s = stage.items * rates.row_us * 1e-6
    storage_s = stage.items * (stage.read + stage.written) / cluster.storage_gb_s / 1e9
    together_s = one.wall_s - one.alone_s
    limits = {
        "the command alone": one.alone_s,
        "the command's rows": sent_s if sent_s > 0.7 * together_s else 0.0,
        "storage": storage_s if storage_s > 0.7 * together_s else 0.0,
        "workers": one.computing_s / workers,
    }
    return max(limits, key=lambda name: limits[name])


def on_paper(
    rates: Rates, cluster: Cluster, prices: Prices, test_share: float, hours: float
) -> Iterator[dict[str, object]]:
    """Yield what a job of each size needs, with the last design and with today's.

    Args:
        rates: The rates.
        cluster: The machines.
        prices: Their prices.
        test_share: The share of the images that are queries.
        hours: The time in which the workers should compute their parts.
    """
    for images in SIZES:
        steps = stages(images, rates, test_share, DESIGNS[-1])
        today = stages(images, rates, test_share, DESIGNS[-2])
        core_hours = sum(stage.items * stage.core_s for stage in steps) / 3600
        moved_gb = sum(stage.items * (stage.read + stage.written) for stage in steps) / 1e9
        kept_gb = images * (rates.pixel_bytes + rates.vector_bytes + rates.sketch_bytes + 1e3) / 1e9
        yield {
            "images": images,
            "core_hours": core_hours,
            "core_hours_today": sum(stage.items * stage.core_s for stage in today) / 3600,
            f"workers_for_{hours:g}_h": math.ceil(core_hours / cluster.cores / hours),
            "cores_cost": core_hours * prices.core_hour,
            "storage_tb": kept_gb / 1e3,
            "storage_cost_month": kept_gb * prices.gb_month,
            "storage_gb_s": moved_gb / hours / 3600,
            "command_alone_hours": sum(stage.alone_s for stage in steps) / 3600,
            "command_alone_hours_today": sum(stage.alone_s for stage in today) / 3600,
            "loaded_by_a_worker_gb": images * (1 - test_share) * rates.keypoint_bytes / 1e9,
            "command_rows_hours": sum(stage.items for stage in steps) * rates.row_us / 3.6e9,
            "command_memory_gb": images * rates.row_bytes / 1e9,
        }


def main(
    out: Path,
    images: int = 1_000_000,
    test_share: float = 0.27,
    hours: float = 24.0,
    seed: int = 0,
    rates: Rates = Rates(),
    cluster: Cluster = Cluster(),
    prices: Prices = Prices(),
) -> None:
    """Simulate, print tables, and write them with a plot to `out`.

    Args:
        out: The folder to write.
        images: The number of images of the simulation.
        test_share: The share of the images that are queries.
        hours: The time in which workers should compute the sizes on paper.
        seed: The seed of speeds and failures.
        rates: The rates of the stages.
        cluster: The machines.
        prices: What they cost.
    """
    out.mkdir(parents=True, exist_ok=True)
    tables = {
        design.name: scaled(images, rates, cluster, design, test_share, seed) for design in DESIGNS
    }
    table = pd.concat([one.assign(design=name) for name, one in tables.items()])
    save_table(out / "cluster_simulation.csv", table)
    by_workers = [one for own in tables.values() for _, one in own.groupby("workers")]
    totals = pd.DataFrame(map(_total, by_workers))
    totals.insert(0, "design", [name for name in tables for _ in WORKERS])
    one_worker = totals.groupby("design")["hours"].transform("first")
    totals["efficiency"] = one_worker / totals["hours"] / totals["workers"]
    print(totals.to_string(index=False))
    print(table[table["workers"] == SHOWN_WORKERS].drop(columns="workers").to_string(index=False))
    paper = pd.DataFrame(on_paper(rates, cluster, prices, test_share, hours))
    save_table(out / "cluster_sizes.csv", paper)
    print(paper.T.to_string())
    with written_beside(out / "cluster_simulation.png") as beside:
        plot(totals).savefig(beside, dpi=120)


def _total(own: pd.DataFrame) -> dict[str, object]:
    hours, slowest = own["hours"].sum(), own.iloc[int(own["hours"].to_numpy().argmax())]
    return {
        "workers": int(own["workers"].iloc[0]),
        "hours": hours,
        "straggler_share": own["straggler_s"].sum() / 3600 / hours,
        "lost_parts": int(own["lost_parts"].sum()),
        "slowest_stage": slowest["stage"],
        "bottleneck": slowest["bottleneck"],
    }


def plot(totals: pd.DataFrame) -> Figure:
    """Return hours and efficiency by the number of workers."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    hours, efficiency = figure.subplots(1, 2)
    for name, own in totals.groupby("design", sort=False):
        hours.loglog(own["workers"], own["hours"], "o-", label=str(name))
        efficiency.semilogx(own["workers"], own["efficiency"], "o-", label=str(name))
    hours.set(xlabel="workers", ylabel="hours")
    efficiency.set(xlabel="workers", ylabel="efficiency", ylim=(0, 1.05))
    hours.legend()
    return figure


if __name__ == "__main__":
    tyro.cli(main)
