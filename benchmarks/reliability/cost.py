"""What safety costs: seconds of build-index and find-leaks of two versions of the code.

python -m benchmarks.reliability.cost --before OLD --after NEW --out R

OLD and NEW are checkouts of the project. Rounds are interleaved, and their order alternates, so
that what else the machine does falls on both. A cold round begins without a row cache, and a warm
one repeats the command.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from atlas.core.files import write_json
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import Outcome
from benchmarks.side_by_side import about_machine

FIELDS, FIELDS_SMALL = (600, 6000), (60,)
FIELDS_OF_IDENTITY = 6
ROUNDS = 5
CALIBRATION = ("--planted-copies", "200", "--natural-queries", "400", "--sibling-queries", "200")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Seconds of a command on some fields, cold or warm, before and after."""

    fields: int
    command: str
    start: str
    before_s: list[float]
    after_s: list[float]

    @property
    def more(self) -> float:
        """The median of the differences of rounds, as a share of the median before."""
        pairs = zip(self.before_s, self.after_s, strict=True)
        return statistics.median(b - a for a, b in pairs) / statistics.median(self.before_s)


def run(lab: Lab) -> None:
    """Say how the cost is measured, which needs a second checkout."""
    lab.ledger("cost").add(
        Outcome(trial="cost", verdict="not tried",
                detail="run python -m benchmarks.reliability.cost --before OLD --after NEW --out R")
    )  # fmt: skip


def main(
    before: Annotated[Path, tyro.conf.arg(help="Checkout of the version to compare with.")],
    after: Annotated[Path, tyro.conf.arg(help="Checkout of the version to measure.")],
    out: Annotated[Path, tyro.conf.arg(help="Folder of the data and the table.")],
    fields: tuple[int, ...] = FIELDS,
    rounds: int = ROUNDS,
    size_px: int = 64,
) -> None:
    """Measure both versions, and write cost.json and cost.md to `out`.

    Args:
        fields: Numbers of labelled images.
        rounds: Number of rounds of each version.
        size_px: Side of the drawn images.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    measurements = [
        measurement
        for count in fields
        for measurement in _measured(before.resolve(), after.resolve(), out, count, rounds, size_px)
    ]
    write_json(out / "cost.json", measurements)
    text = "\n".join([about_machine(["torch", "openvino"]), "", *_table(measurements)])
    (out / "cost.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def _measured(
    before: Path, after: Path, out: Path, fields: int, rounds: int, size_px: int
) -> Iterator[Measurement]:
    data = out / f"data{fields}"
    if not data.exists():
        identities = str(fields // FIELDS_OF_IDENTITY)
        words = ["draw-atlas", "--out", str(data), "--identities", identities, "--size-px"]
        words += [str(size_px), "--test-fields-per-identity", "1"]
        words += ["--novel-identities", str(fields // 12), "--copies", str(fields // 12)]
        _run(after, out, words)
    seconds: dict[tuple[str, str, Path], list[float]] = {}
    for number in range(rounds):
        for code in (before, after) if number % 2 == 0 else (after, before):
            own = out / f"run-{'before' if code == before else 'after'}"
            shutil.rmtree(own, ignore_errors=True)
            for start in ("cold", "warm"):
                for words in _commands(data, own):
                    took = _run(code, out, words)
                    seconds.setdefault((words[0], start, code), []).append(took)
                    said = f"{fields} fields, {own.name}, {start}: {words[0]}"
                    print(f"{said} {took:.1f} s", flush=True)
    for command, start in dict.fromkeys((command, start) for command, start, _ in seconds):
        yield Measurement(
            fields=fields, command=command, start=start,
            before_s=seconds[command, start, before], after_s=seconds[command, start, after],
        )  # fmt: skip


def _commands(data: Path, own: Path) -> Iterator[list[str]]:
    index = str(own / "index")
    yield ["build-index", "--data", str(data), "--embedder", "frozen", "--out", index]
    yield ["find-leaks", "--data", str(data), "--index", index, "--out", str(own / "leaks"),
           "--accept-unproven-copies", *CALIBRATION]  # fmt: skip


def _run(code: Path, folder: Path, words: Sequence[str]) -> float:
    """Run a command of a checkout, and return its seconds."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "atlas.cli", *words], cwd=folder, check=True,
        env={**os.environ, "PYTHONPATH": str(code)},
        stdout=subprocess.DEVNULL, stderr=(folder / "stderr.txt").open("ab"),
    )  # fmt: skip
    return time.perf_counter() - began


def _table(measurements: Sequence[Measurement]) -> Iterator[str]:
    yield "| fields | command | row cache | before | after | more |"
    yield "|---|---|---|---|---|---|"
    for one in measurements:
        before, after = statistics.median(one.before_s), statistics.median(one.after_s)
        yield (
            f"| {one.fields:,} | `{one.command}` | {one.start} | {before:.1f} s | {after:.1f} s | "
            f"{one.more:+.1%} |"
        )


if __name__ == "__main__":
    tyro.cli(main)
