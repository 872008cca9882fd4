"""Two commands in one folder, and readers of a folder that is being replaced."""

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from atlas.core.files import content_hash
from benchmarks.reliability import warm
from benchmarks.reliability.commands import BASE, WRITERS, Command, named
from benchmarks.reliability.kills import strays, visible
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import HELD, Outcome, one_line
from benchmarks.reliability.world import difference

READS, READS_SMALL = 4000, 300
LEAST_REPLACED, LEAST_REPLACED_SMALL = 12, 3
PAIRS_SMALL = ("make-submission", "find-leaks", "audit-labels")
LIMIT_S = 600.0
_versions: dict[tuple[str, ...], tuple[str, str]] = {}  # what was read beside the ids of an index


def run(lab: Lab) -> None:
    """Start every command twice at once, then read an index and leaks while they are replaced."""
    names = PAIRS_SMALL if lab.small else [command.name for command in WRITERS]
    for name in (*names, "build-index", "find-leaks"):
        lab.reference(named(name), old=True)
    lab.each("concurrency", [(f"twice {name}", named(name)) for name in names], _twice)
    readers = [("reads of the index", "build-index"), ("reads of leaks", "find-leaks")]
    alone = Lab(folder=lab.folder, small=lab.small, jobs=1)  # its writer is a process of its own
    alone.each("concurrency", readers, _read)


def _twice(lab: Lab, trial: str, command: Command) -> Iterator[Outcome]:
    wanted = lab.reference(command, old=True)
    lab.make_world(command, old=True)
    both = [
        warm.start(
            command.words(lab.places), lab.world, logs=lab.logs / name, environment=lab.environment
        )
        for name in ("one", "other")
    ]
    ended = [warm.finish(running) for running in both]
    for running in both:
        warm.end_session(running)
    verdict, detail = HELD, f"statuses {', '.join(str(one.status) for one in ended)}"
    faults = [(one.fault, one_line(one.err)) for one in ended if one.fault]
    refused = [one.err for one in ended if one.status]
    if faults:
        verdict, detail = faults[0]
    elif len(refused) == 2:
        verdict, detail = "both refuse", one_line(" / ".join(refused))
    elif refused and not any(re.search(rf"\b{running.pid}\b", refused[0]) for running in both):
        verdict, detail = "the other process is not named", one_line(refused[0])
    elif differs := difference(visible(lab, command), wanted.after[command.out]):
        verdict, detail = "another result", differs
    elif left := strays(lab, wanted):
        verdict, detail = "strays", ", ".join(left[:4])
    yield Outcome(trial=trial, verdict=verdict, detail=detail, group="two commands in one folder")


def _read(lab: Lab, trial: str, name: str) -> Iterator[Outcome]:
    """Read in one process while another replaces, until there were enough reads of enough results.

    The two results that replace one another are that of the base and that of the command.
    """
    command, least = named(name), LEAST_REPLACED_SMALL if lab.small else LEAST_REPLACED
    reads = READS_SMALL if lab.small else READS
    lab.make_world(command, old=True)
    folder, counts = lab.world / command.out, lab.scratch / "reads.json"
    writer, replaced, began = None, 0, time.monotonic()
    reader = os.fork()
    if reader == 0:
        _read_for_ever(name, folder, counts)
    words = [command.words(lab.places), _base_words(lab, command)]
    try:
        while (replaced < least or _total(counts) < reads) and time.monotonic() - began < LIMIT_S:
            writer = lab.run_words(words[replaced % 2])
            if writer.status:
                raise RuntimeError(f"{command.name} fails: {writer.err}")
            replaced += 1
    finally:
        os.kill(reader, signal.SIGTERM)
        os.waitpid(reader, 0)
    for verdict, count in json.loads(counts.read_text()).items():
        detail = f"{replaced} replacements"
        yield Outcome(
            trial=f"{trial}: {verdict}" if verdict != HELD else trial, verdict=verdict,
            detail=detail, group="reads during replacements", count=count,
        )  # fmt: skip


def _base_words(lab: Lab, command: Command) -> list[str]:
    verb = command.options.split()[0]
    return next(c for c in BASE if c.name == verb).words(lab.places)


def _read_for_ever(name: str, folder: Path, counts: Path) -> None:
    """Read a folder again and again, and keep how often each kind of answer came."""
    found: Counter[str] = Counter()
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    try:
        while going:
            found[_read_once(name, folder)] += 1
            if found.total() % 20 == 0 or not going:
                beside = counts.with_suffix(".part")
                beside.write_text(json.dumps(found))
                beside.replace(counts)
    finally:
        os._exit(0)


def _read_once(name: str, folder: Path) -> str:
    from atlas.core.errors import UserError

    try:
        return HELD if _consistent(name, folder) else "a mixed folder"
    except UserError as error:
        return f"refused: {one_line(re.sub(r'[^ ]*/', '', str(error)), length=80)}"
    except Exception as error:
        return f"traceback: {type(error).__name__}"


def _consistent(name: str, folder: Path) -> bool:
    """Read a result, and return whether all its files are of one run."""
    if name == "build-index":
        from index.index_folder import load_index

        index = load_index(folder)
        said = (index.table_hash, content_hash(index.embeddings.vectors_ND))
        return _versions.setdefault(index.embeddings.ids, said) == said
    from atlas.dataset.artifacts import load_leaks
    from atlas.workflows.leaks.calibration import load_calibration

    load_calibration(folder)
    load_leaks(folder / "leaks.csv")
    return True


def _total(counts: Path) -> int:
    return sum(json.loads(counts.read_text()).values()) if counts.exists() else 0
