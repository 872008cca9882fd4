"""Where attacks take place: the base, worlds that are copied from it, and trials on both cores."""

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from benchmarks.reliability import warm
from benchmarks.reliability.commands import Command
from benchmarks.reliability.ledger import Ledger, Outcome, one_line
from benchmarks.reliability.world import (
    Tree,
    copy_tree,
    names_in,
    remove,
    tree_of,
    without_records,
)

CLONE_NEWNS = 0x20000  # of linux/sched.h
BASE_OF_WORKER = "base"
CAP_SYS_ADMIN = 21  # of linux/capability.h
Trial = TypeVar("Trial")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a command does undisturbed.

    Attributes:
        before: Each result before the command, by its path below the world.
        out: What the command printed.
        after: Each result after it, and what it writes as a whole.
        names: All files and folders of the world after it.
        seconds: How long it took.
    """

    before: Mapping[str, Tree]
    out: str
    after: Mapping[str, Tree]
    names: frozenset[str]
    seconds: float


def _cores() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_setaffinity") else ()


@dataclass(kw_only=True)
class Lab:
    """The folder of a run of attacks.

    Attributes:
        folder: The folder that holds everything.
        small: Whether each part makes few trials, which shows that it works.
        jobs: The number of trials at the same time.
        worker: The number of this process among those that make trials.
        cores: The numbers of the cores that may be used, if the system can restrict processes.
    """

    folder: Path
    small: bool = False
    jobs: int = 2
    worker: int = 0
    cores: tuple[int, ...] = field(default_factory=_cores)
    _references: dict[str, Reference] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The finished folder whose copies are attacked. No attack changes it.

        Each worker has a copy in its own file system, as links to large files end at its borders.
        """
        own = self.folder / "world" / BASE_OF_WORKER
        return own if own.exists() else self.folder / "base"

    @property
    def folders(self) -> dict[str, Path]:
        """The folders that the words of commands name."""
        return {name: self.folder / name for name in ("data", "less", "pictures")}

    @property
    def places(self) -> dict[str, object]:
        """The folders and ids that the words of commands name."""
        ids = {
            name: (self.folder / "data" / table).read_text().splitlines()[1].split(",")[0]
            for name, table in (("known", "train.csv"), ("asked", "sample_submission.csv"))
            if (self.folder / "data" / table).exists()
        }
        return {**self.folders, **ids}

    @property
    def world(self) -> Path:
        """The folder in which trials take place.

        It has one path for all workers, as results may hold paths. Each worker has its own file
        system there, see `own_world`.
        """
        return self.folder / "world" / "w"

    @property
    def logs(self) -> Path:
        """The folder of the output of this worker's commands."""
        return self.folder / "logs" / str(self.worker)

    @property
    def scratch(self) -> Path:
        """The folder of temporary files of this worker's commands."""
        return self.folder / "scratch" / str(self.worker)

    @property
    def environment(self) -> dict[str, str]:
        """What every command is given: its own folder of temporary files, and no colours."""
        return {"TMPDIR": str(self.scratch), "NO_COLOR": "1", "COLUMNS": "160"}

    def ledger(self, part: str) -> Ledger:
        """Return the outcomes of a part."""
        return Ledger(self.folder / f"{part}.jsonl")

    def random(self, *names: object) -> random.Random:
        """Return random numbers that depend on the names alone."""
        return random.Random(" ".join(map(str, names)))

    def own_world(self) -> None:
        """Give this process a world of its own, below a mount that other processes do not see."""
        if not can_mount():
            return
        own = self.folder / "worlds" / str(self.worker)
        kept, beside = own / BASE_OF_WORKER, own / f"{BASE_OF_WORKER}.part"
        if not kept.exists():
            remove(beside)
            own.mkdir(parents=True, exist_ok=True)
            copy_tree(self.folder / "base", beside)
            beside.rename(kept)
        self.world.parent.mkdir(exist_ok=True)
        if ctypes.CDLL(None).unshare(CLONE_NEWNS):
            raise OSError("the kernel gives no mount namespace")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", str(own), str(self.world.parent)], check=True)

    def take_core(self) -> None:
        """Restrict this process to one core, as sums of floats depend on the number of cores."""
        if self.cores:
            os.sched_setaffinity(0, {self.cores[self.worker % len(self.cores)]})

    def make_world(self, command: Command, *, old: bool) -> None:
        """Make this worker's world anew, with what a command reads and perhaps an older result."""
        remove(self.world)
        self.fill_world(command, old=old)

    def fill_world(self, command: Command, *, old: bool) -> None:
        """Fill this worker's world, which is empty and may be another file system."""
        extra = (command.out,) if old and command.replaces else ()
        for name in dict.fromkeys((*command.needs, *extra)):
            copy_tree(self.base / name, self.world / name)
        (self.world / "run").mkdir(parents=True, exist_ok=True)
        remove(self.scratch)
        self.scratch.mkdir(parents=True)

    def run(self, command: Command, **options: object) -> warm.Ended:
        """Run a command in this worker's world."""
        return self.run_words(command.words(self.places), **options)

    def run_words(self, words: list[str], **options: object) -> warm.Ended:
        """Run other words in this worker's world."""
        given = {**self.environment, **options.pop("environment", {})}  # type: ignore[dict-item]
        return warm.run(words, self.world, logs=self.logs, environment=given, **options)  # type: ignore[arg-type]

    def reference(self, command: Command, *, old: bool) -> Reference:
        """Return what a command does undisturbed; this is measured once."""
        key = f"{command.name}, {'old' if old and command.replaces else 'new'}"
        if key not in self._references:
            self._references[key] = self._measured(command, key, old=old)
        return self._references[key]

    def results(self, command: Command) -> dict[str, Tree]:
        """Return what the world holds of the results of a command, by their paths."""
        return {
            name: without_records(tree_of(self.world / name))
            for name in dict.fromkeys((*command.results, command.out))
        }

    def each(self, part: str, trials: Iterable[tuple[str, Trial]],
             attack: Callable[["Lab", str, Trial], Iterable[Outcome]], *,
             worlds: bool = True) -> None:  # fmt: skip
        """Make the trials that have no outcome yet, on several cores.

        Args:
            part: The name of the part, whose ledger is written.
            trials: The name of each trial, and what the attack needs.
            attack: A function that makes a trial and yields its outcomes.
            worlds: Whether trials take place in the world, of which each process has its own.
        """
        ledger, done = self.ledger(part), self.ledger(part).done()
        waiting = [(name, trial) for name, trial in trials if name not in done]
        jobs = min(self.jobs if can_mount() or not worlds else 1, len(waiting))
        children = [
            pid
            for worker in range(jobs)
            if (pid := self._fork(worker, waiting[worker::jobs], attack, ledger, worlds))
        ]
        try:
            for pid in children:
                os.waitpid(pid, 0)
        except KeyboardInterrupt:
            for pid in children:
                os.kill(pid, signal.SIGTERM)
            raise

    def _fork(self, worker: int, waiting, attack, ledger: Ledger, worlds: bool) -> int:  # type: ignore[no-untyped-def]
        sys.stdout.flush()
        if pid := os.fork():
            return pid
        try:
            own = replace(self, worker=worker)
            own.take_core()
            if worlds:
                own.own_world()
            for name, trial in waiting:
                try:
                    for outcome in attack(own, name, trial):
                        ledger.add(outcome)
                except Exception as error:
                    traceback.print_exc()
                    said = one_line(f"{type(error).__name__}: {error}")
                    ledger.add(Outcome(trial=name, verdict="the attack failed", detail=said))
        finally:
            sys.stdout.flush()
            os._exit(0)

    def _measured(self, command: Command, key: str, *, old: bool) -> Reference:
        """Run the command undisturbed, unless an earlier run of the attacks did."""
        path = self.folder / "references" / f"{key}.json"
        if not path.exists():
            self.make_world(command, old=old)
            before = self.results(command)
            ended = self.run(command)
            if ended.status:
                raise RuntimeError(f"{command.name} fails undisturbed: {ended.err}")
            path.parent.mkdir(exist_ok=True)
            path.write_text(
                json.dumps(
                    {
                        "before": before,
                        "out": ended.out,
                        "after": self.results(command),
                        "names": sorted(names_in(self.world)),
                        "seconds": ended.seconds,
                    }
                )
            )
        said = json.loads(path.read_text())
        return Reference(**{**said, "names": frozenset(said["names"])})


def can_mount() -> bool:
    """Return whether this process may mount file systems, which root in a container may not."""
    status = Path("/proc/self/status")
    if not status.exists():
        return False
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return bool(int(lines["CapEff"], 16) >> CAP_SYS_ADMIN & 1)
