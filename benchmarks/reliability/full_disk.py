"""Full disks of 20 sizes: one line that names a file, nothing lost, and right with more room.

The disk is a file system in memory where root is available. Elsewhere, a limit on the size of a
file takes its place.
"""

import os
import re
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.reliability import warm
from benchmarks.reliability.commands import WRITERS, Command
from benchmarks.reliability.kills import judged_again, lost
from benchmarks.reliability.lab import Lab, can_mount
from benchmarks.reliability.ledger import HELD, Outcome, one_line
from benchmarks.reliability.world import remove

SIZES, SIZES_SMALL = 20, 3
LEAST_BYTES, PAGE_BYTES = 8 << 10, 4096
ROOM_BYTES = 1 << 30
MESSAGE = re.compile(r"[/\w.-]+\.\w+|[\w.-]+/[\w./-]+")  # a path


@dataclass(frozen=True, kw_only=True)
class Size:
    """A command, and the room that it has as a share of what it needs, on a logarithmic scale."""

    command: Command
    step: int
    steps: int


def run(lab: Lab) -> None:
    """Let every command run out of room at several moments."""
    steps = SIZES_SMALL if lab.small else SIZES
    for command in WRITERS:
        lab.reference(command, old=True)
    trials = [
        (
            f"{command.name}, size {step + 1} of {steps}",
            Size(command=command, step=step, steps=steps),
        )
        for command in WRITERS
        for step in range(steps)
    ]
    lab.each("disk", trials, _attack)


def _attack(lab: Lab, trial: str, size: Size) -> Iterator[Outcome]:
    command = size.command
    wanted = lab.reference(command, old=True)
    needed = _needed_bytes(lab, command)
    share = (size.step + 0.5) / size.steps
    room = int(LEAST_BYTES * (max(needed, 2 * LEAST_BYTES) / LEAST_BYTES) ** share)
    with _disk(lab, command) as disk:
        ended = disk.run_with(room)
        seen = f"{room / 1024:,.0f} of {needed / 1024:,.0f} KiB: status {ended.status}"
        verdict, detail = _judged(ended)
        if verdict == HELD and (neither := lost(lab, command, wanted)):
            verdict, detail = "neither old nor new", neither
        yield Outcome(trial=trial, verdict=verdict, detail=f"{seen}; {detail}", group="full")
        disk.give_room()
        yield from judged_again(
            lab, command, wanted, trial=f"{trial}, with room", seen=seen, killed=ended.pid,
            group="then with room",
        )  # fmt: skip


def _judged(ended: warm.Ended) -> tuple[str, str]:
    said = one_line(ended.err)
    if ended.fault:
        return ended.fault, said
    if ended.status == 0:
        return HELD, "there was enough room"
    errors = [line for line in ended.err.splitlines() if line.startswith("error:")]
    if len(errors) != 1:
        return "no error line", said
    if not MESSAGE.search(errors[0].removeprefix("error:").split(";")[0]):
        return "no file named", said
    return HELD, said


def _needed_bytes(lab: Lab, command: Command) -> int:
    """Return about how many bytes the command writes, measured once."""
    path = lab.folder / "needed" / command.name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        lab.make_world(command, old=True)
        before = {file: file.stat().st_ino for file in lab.world.rglob("*") if file.is_file()}
        lab.run(command)
        written = [
            file.stat()
            for file in lab.world.rglob("*")
            if file.is_file() and before.get(file) != file.stat().st_ino
        ]
        path.write_text(str(sum(-(-stat.st_size // PAGE_BYTES) * PAGE_BYTES for stat in written)))
    return int(path.read_text())


@contextmanager
def _disk(lab: Lab, command: Command) -> "Iterator[_Tmpfs | _Limit]":
    """Yield a disk that holds the command's world."""
    if not can_mount():
        lab.make_world(command, old=True)
        yield _Limit(lab, command)
        return
    remove(lab.world)
    lab.world.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", str(lab.world))
    try:
        lab.fill_world(command, old=True)
        yield _Tmpfs(lab, command)
    finally:
        subprocess.run(["umount", "-l", str(lab.world)], check=True)


@dataclass(frozen=True)
class _Tmpfs:
    lab: Lab
    command: Command

    def run_with(self, room: int) -> warm.Ended:
        stat = os.statvfs(self.lab.world)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_bsize
        _mount("-o", f"remount,size={used + room}", str(self.lab.world))
        return self.lab.run(self.command)

    def give_room(self) -> None:
        _mount("-o", f"remount,size={ROOM_BYTES}", str(self.lab.world))


@dataclass(frozen=True)
class _Limit:
    lab: Lab
    command: Command

    def run_with(self, room: int) -> warm.Ended:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

        return self.lab.run(self.command, prepare=limit)

    def give_room(self) -> None:
        """Do nothing, as the limit held for one process."""


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)
