"""Fuzzed inputs: changed files of users, own files and images, read in this process's forks.

python -m benchmarks.reliability.fuzz --out R --count 6000

Every input follows from its target and number alone. Libraries may hang or crash on damaged files,
so a fork reads them and another process watches it. A finding is kept in R/findings with its
traceback; findings are the same if they have the same last frame.
"""

import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.reliability.findings import FINDINGS_FILE, Input, finding, kept, note
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import HELD, Outcome
from benchmarks.reliability.mutation import mutated
from benchmarks.reliability.targets import CORPUS, TARGETS, Target

INPUTS, INPUTS_SMALL, CHUNK = 250_000, 6_000, 2_500
HANG_S = 20.0
POLL_S = 0.02
MEMORY_BYTES = 8 << 30


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Inputs of a target, by their first and last number."""

    target: Target
    start: int
    stop: int


def run(lab: Lab) -> None:
    """Read the inputs of every target; parts of what earlier runs did are not repeated."""
    total = INPUTS_SMALL if lab.small else INPUTS
    lab.each("fuzz", list(_chunks(total)), _attack, worlds=False)


def main(
    out: Annotated[Path, tyro.conf.arg(help="Folder of the findings.")],
    count: int = INPUTS_SMALL,
    jobs: int = os.cpu_count() or 1,
) -> None:
    """Replay the inputs of earlier findings, read new ones, and exit with 1 if any fails.

    Args:
        count: Number of inputs.
        jobs: Number of processes.
    """
    out.mkdir(parents=True, exist_ok=True)
    lab = Lab(folder=out.resolve(), jobs=jobs)
    lab.each("fuzz", [*_regressions(), *_chunks(count)], _attack, worlds=False)
    outcomes = lab.ledger("fuzz").outcomes()
    faults = [outcome for outcome in outcomes if outcome.verdict != HELD]
    print(f"{sum(o.count for o in outcomes):,} inputs, {sum(o.count for o in faults):,} findings")
    for fault in faults:
        print(f"{fault.verdict}: {fault.trial}: {fault.detail}")
    sys.exit(1 if faults else 0)


def input_of(target: Target, seeds: dict[str, bytes], number: int) -> Input:
    """Return an input of a target, which follows from its number."""
    dice = random.Random(f"{target.name} {number}")
    file = dice.choice(sorted(seeds))
    ending = Path(file).suffix
    others = [seeds[name] for name in sorted(seeds) if name.endswith(ending) and name != file]
    return Input(file=file, content=mutated(seeds[file], ending, others, dice))


def _chunks(total: int) -> Iterator[tuple[str, Chunk]]:
    shares = sum(target.share for target in TARGETS.values())
    for name, target in TARGETS.items():
        count = total * target.share // shares
        for start in range(0, count, CHUNK):
            stop = min(count, start + CHUNK)
            yield f"{name} {start} to {stop}", Chunk(target=target, start=start, stop=stop)


def _regressions() -> Iterator[tuple[str, Chunk | Path]]:
    """Yield the inputs that once failed: CORPUS/regressions/TARGET/FILE, in folders by number."""
    for file in sorted((CORPUS / "regressions").glob("*/*/*")):
        yield str(file.relative_to(CORPUS)), file


def _attack(lab: Lab, trial: str, chunk: Chunk | Path) -> Iterator[Outcome]:
    work = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_quick_folder(lab)))
    try:
        if isinstance(chunk, Path):
            target = TARGETS[chunk.parts[-3]]
            given = [Input(file=chunk.name, content=chunk.read_bytes())]
            yield from read_all(lab, trial, target, work, given)
        else:
            yield from read_all(lab, trial, chunk.target, work, range(chunk.start, chunk.stop))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _quick_folder(lab: Lab) -> Path:
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else lab.folder


def read_all(
    lab: Lab, trial: str, target: Target, work: Path, inputs: list[Input] | range
) -> Iterator[Outcome]:
    """Read all inputs in forks; one that ends or hangs is followed by another."""
    seeds = _seeds(lab, target, work / "seeds")
    progress, found = work / "progress", work / FINDINGS_FILE
    progress.write_bytes(bytes(8))
    at, crashes = 0, []
    while at < len(inputs):
        status = _watched(target, seeds, work, inputs, at)
        # A fork that ends before its first input has not moved.
        at = max(at, *struct.unpack("<q", progress.read_bytes()))
        if status == 0:
            break
        crashes.append((at, status))
        at += 1
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], Path] = {}
    for line in found.read_text().splitlines() if found.exists() else ():
        said = json.loads(line)
        key = (said["verdict"], said["signature"])
        counts[key] += 1
        content = (work / said["file"]).read_bytes()
        examples.setdefault(key, kept(lab.folder, target, key, said["name"], content, said["text"]))
    for position, status in crashes:
        one = _input(target, seeds, inputs, position)
        key = (str(status), one.file)
        counts[key] += 1
        examples.setdefault(key, kept(lab.folder, target, key, one.file, one.content, str(status)))
    for key, count in counts.items():
        yield Outcome(
            trial=f"{trial}: {key[1]}", verdict=key[0], group=target.name, count=count,
            detail=str(examples[key].relative_to(lab.folder)),
        )  # fmt: skip
    yield Outcome(trial=trial, group=target.name, count=len(inputs) - counts.total())


def _seeds(lab: Lab, target: Target, folder: Path) -> dict[str, bytes]:
    """Make the undamaged files, and return them by their paths."""
    base = lab.base if (lab.base / "complete").exists() else None
    target.make(folder, base)
    with suppress(Exception):  # libraries are imported here, where no fork waits for them
        target.read(folder)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _input(target: Target, seeds: dict[str, bytes], inputs: list[Input] | range, at: int) -> Input:
    given = inputs[at]
    return given if isinstance(given, Input) else input_of(target, seeds, given)


def _watched(
    target: Target, seeds: dict[str, bytes], work: Path, inputs: list[Input] | range, start: int
) -> int | str:
    """Read inputs in a fork, and return 0, or how it failed at the input that `progress` names."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _read_in_fork(target, seeds, work, inputs, start)
    last, moved = -1, time.monotonic()
    while True:
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(code)
            return f"killed by {signal.Signals(-status).name}" if status < 0 else status
        (at,) = struct.unpack("<q", (work / "progress").read_bytes())
        if at != last:
            last, moved = at, time.monotonic()
        elif time.monotonic() - moved > HANG_S:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hang"
        time.sleep(POLL_S)


def _read_in_fork(
    target: Target, seeds: dict[str, bytes], work: Path, inputs: list[Input] | range, start: int
) -> None:
    """Read inputs one after the other, and end this process."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        os.dup2(os.open(work / "stderr.txt", os.O_WRONLY | os.O_CREAT, 0o600), 2)
        warnings.simplefilter("ignore")
        opened = os.open(work / "progress", os.O_RDWR)
        shown = mmap.mmap(opened, 8)
        folder = work / "folder"
        for at in range(start, len(inputs)):
            shown[:] = struct.pack("<q", at)
            one = _input(target, seeds, inputs, at)
            if said := finding(target, seeds, folder, one):
                note(work, target, seeds, folder, one, said)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    tyro.cli(main)
