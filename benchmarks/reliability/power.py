"""Power cuts: what is on the disk at a moment must be an old or a new result, and must go on.

Where root is available, a command writes to an ext4 file system in a file. At a moment, that file
holds what a disk would hold if the power failed then; it is copied and mounted, and the command is
run again. A second kind of trial needs no root: after a kill, files that were never synced are
emptied, as file systems do that allocate late.
"""

import filecmp
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.reliability import shim, warm
from benchmarks.reliability.commands import Command, named
from benchmarks.reliability.kills import judged_again, lost
from benchmarks.reliability.lab import Lab, Reference, can_mount
from benchmarks.reliability.ledger import Outcome
from benchmarks.reliability.world import remove

CUTS, CUTS_SMALL = 20, 3
SIMULATED, SIMULATED_SMALL = 60, 6
IMAGE_MIB = 320
AFTER_END_S = 3.0
COPIES = 20
NAMES = (
    "make-submission", "find-leaks", "build-index", "train-embedder", "audit-labels", "update",
    "explore", "train-classifier", "remove-duplicates", "predict",
)  # fmt: skip


def run(lab: Lab) -> None:
    """Cut the power at moments from the start of a command to some seconds after its end."""
    for name in NAMES:
        lab.reference(named(name), old=True)
    cuts = CUTS_SMALL if lab.small else CUTS
    if not can_mount() or not shutil.which("mkfs.ext4"):
        lab.ledger("power").add(
            Outcome(trial="loop", verdict="not tried", detail="there is no root, or no mkfs.ext4",
                    group="ext4 on a loop device")
        )  # fmt: skip
        cuts = 0
    lab.each("power", [(f"cut {n}", n) for n in range(cuts)], _cut)
    simulated = SIMULATED_SMALL if lab.small else SIMULATED
    if shim.is_loaded():
        lab.each("power", [(f"simulated cut {n}", n) for n in range(simulated)], _simulated)


def _cut(lab: Lab, trial: str, number: int) -> Iterator[Outcome]:
    command, after_end, moment = _moment(lab, "power", number)
    wanted = lab.reference(command, old=True)
    image, copy = (lab.folder / f"{name}-{lab.worker}.img" for name in ("disk", "cut"))
    remove(image)
    with image.open("wb") as file:
        file.truncate(IMAGE_MIB << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with _mounted(image, lab.world):
        lab.fill_world(command, old=True)
        os.sync()
        running = warm.start(
            command.words(lab.places), lab.world, logs=lab.logs, environment=lab.environment
        )
        if after_end:
            status = warm.finish(running).status
            time.sleep(moment)
            _copied(image, copy)
            seen = f"{command.name}, {moment:.1f} s after status {status}"
        else:
            time.sleep(moment)
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGSTOP)
            _copied(image, copy)
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            warm.finish(running)
            seen = f"{command.name}, {moment:.1f} s after its start"
        warm.end_session(running)
    with _mounted(copy, lab.world):
        yield from _judged(lab, command, wanted, trial, seen, "ext4 on a loop device",
                           ended=after_end, killed=running.pid)  # fmt: skip
    remove(image)
    remove(copy)


def _simulated(lab: Lab, trial: str, number: int) -> Iterator[Outcome]:
    command, after_end, moment = _moment(lab, "simulated", number)
    wanted = lab.reference(command, old=True)
    lab.make_world(command, old=True)
    log = lab.folder / f"syncs-{lab.worker}.log"
    before = {path.stat().st_ino for path in lab.world.rglob("*")}
    began = time.time_ns()
    running = warm.start(
        command.words(lab.places), lab.world, logs=lab.logs, environment=lab.environment,
        prepare=shim.watch(lab.world, log),
    )  # fmt: skip
    warm.finish(running, kill_after_s=None if after_end else moment)
    warm.end_session(running)
    emptied = _empty_unsynced(lab.world, log, before, began)
    where = "its end" if after_end else f"{moment:.1f} s"
    seen = f"{command.name}, after {where}; {emptied} files were not synced"
    yield from _judged(lab, command, wanted, trial, seen, "simulated", ended=after_end,
                       killed=running.pid)  # fmt: skip


def _moment(lab: Lab, kind: str, number: int) -> tuple[Command, bool, float]:
    """Return a command, whether the power is cut after its end, and the seconds from there."""
    dice = lab.random(kind, number)
    command = named(NAMES[number % len(NAMES)])
    after_end = dice.random() < 0.5
    longest = AFTER_END_S if after_end else lab.reference(command, old=True).seconds
    return command, after_end, dice.uniform(0, longest)


def _judged(
    lab: Lab,
    command: Command,
    wanted: Reference,
    trial: str,
    seen: str,
    group: str,
    *,
    ended: bool,
    killed: int,
) -> Iterator[Outcome]:
    """Yield whether a result that was reported is there, and whether the command goes on."""
    if ended and any(lab.results(command)[name] != wanted.after[name] for name in command.results):
        yield Outcome(
            trial=f"{trial}, result", verdict="a reported result is lost", detail=seen, group=group
        )
    elif neither := lost(lab, command, wanted):
        yield Outcome(
            trial=f"{trial}, result", verdict="neither old nor new", detail=f"{seen}; {neither}",
            group=group,
        )  # fmt: skip
    yield from judged_again(
        lab, command, wanted, trial=trial, seen=seen, killed=killed, group=group
    )


def _empty_unsynced(world: Path, log: Path, before: set[int], began: int) -> int:
    """Empty the files that were written since then and not synced after that, and count them."""
    synced: dict[int, int] = {}
    for sync in shim.read_log(log)[1]:
        synced[sync.inode] = max(sync.at_ns, synced.get(sync.inode, 0))
    count = 0
    for path in world.rglob("*"):
        stat = path.lstat()
        new = stat.st_ino not in before or stat.st_mtime_ns > began
        on_disk = synced.get(stat.st_ino, 0) >= max(1, min(stat.st_mtime_ns, time.time_ns()))
        if path.is_file() and not path.is_symlink() and new and not on_disk and stat.st_size:
            os.truncate(path, 0)
            count += 1
    return count


def _copied(image: Path, copy: Path) -> None:
    """Copy a file that the system may be writing to, until two copies are equal."""
    second = copy.with_suffix(".second")
    for _ in range(COPIES):
        for target in (copy, second):
            subprocess.run(["cp", "--sparse=always", str(image), str(target)], check=True)
        if filecmp.cmp(copy, second, shallow=False):
            break
    remove(second)


@contextmanager
def _mounted(image: Path, folder: Path) -> Iterator[None]:
    remove(folder)
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    try:
        yield
    finally:
        for _ in range(COPIES):
            if not subprocess.run(
                ["umount", str(folder)], check=False, capture_output=True
            ).returncode:
                break
            time.sleep(0.2)
        else:
            subprocess.run(["umount", "-l", str(folder)], check=False)
