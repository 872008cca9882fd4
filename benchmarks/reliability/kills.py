"""Kills at random moments: the same command again must end as if nothing had happened."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from benchmarks.reliability import warm
from benchmarks.reliability.commands import WRITERS, Command
from benchmarks.reliability.lab import Lab, Reference
from benchmarks.reliability.ledger import HELD, Outcome, one_line
from benchmarks.reliability.world import Tree, difference, names_in, shared_memory

KILLS, KILLS_SMALL = 100, 8
LATEST = 1.05  # a moment in seconds undisturbed


def run(lab: Lab) -> None:
    """Kill commands at moments from their start to shortly after their end."""
    for command in WRITERS:
        for old in (False, True):
            lab.reference(command, old=old)
    count = KILLS_SMALL if lab.small else KILLS
    trials = [(f"kill {n}", n) for n in range(count)]
    lab.each("kills", trials, _attack)


def judged_again(
    lab: Lab, command: Command, wanted: Reference, *, trial: str, seen: str, killed: int,
    group: str = "",
) -> Iterator[Outcome]:  # fmt: skip
    """Run the command again and yield whether result, strays and end are those of `wanted`.

    Args:
        lab: The world after an attack.
        command: The command that was attacked.
        wanted: What it does undisturbed.
        trial: The name of the trial.
        seen: What was done, for people.
        killed: The process that was attacked.
        group: See `Outcome`.
    """
    ended = lab.run(command)
    left = strays(lab, wanted)
    temporary = sorted(names_in(lab.scratch))
    result = difference(visible(lab, command), wanted.after[command.out])
    extra = shared_memory((killed, ended.pid))
    verdict, detail = HELD, seen
    if fault := ended.fault or ("refuses to go on" if ended.status else ""):
        verdict, detail = f"again: {fault}", f"{seen}; {one_line(ended.err)}"
    elif result:
        verdict, detail = "another result", f"{seen}; {result}"
    elif left or temporary or extra:
        verdict, detail = "strays", f"{seen}; {', '.join((*left, *temporary, *extra)[:4])}"
    yield Outcome(trial=trial, verdict=verdict, detail=detail, group=group)


def strays(lab: Lab, wanted: Reference) -> list[str]:
    """Return what an undisturbed command does not leave, apart from finished files of the cache."""
    return [
        name
        for name in sorted(names_in(lab.world) - wanted.names)
        if "store" not in name.split("/") or any(part[0] == "." for part in name.split("/"))
    ]


def visible(lab: Lab, command: Command) -> Tree:
    """Return the result without files that begin with a dot, which count as strays."""
    found = lab.results(command)[command.out]
    return {name: said for name, said in found.items() if not f"/{name}".count("/.")}


def lost(lab: Lab, command: Command, wanted: Reference) -> str:
    """Return which result is now neither the old nor the new one, or ""."""
    for name in command.results:
        now = lab.results(command)[name]
        differs = {difference(now, at[name]) for at in (wanted.before, wanted.after)}
        if "" not in differs:
            return f"{name}: {min(differs, key=len)}"
    return ""


def _attack(lab: Lab, trial: str, number: int) -> Iterator[Outcome]:
    dice = lab.random("kills", number)
    command, old = WRITERS[number % len(WRITERS)], dice.random() < 0.5
    wanted = lab.reference(command, old=old)
    moment = dice.uniform(0, LATEST * wanted.seconds)
    whole = dice.random() < 0.5
    lab.make_world(command, old=old)
    running = warm.start(
        command.words(lab.places), lab.world, logs=lab.logs, environment=lab.environment
    )
    ended = _killed(running, moment, whole=whole)
    seen = f"{command.name} killed after {moment:.2f} s ({ended.status})"
    yield from judged_kill(lab, command, wanted, running, trial=trial, seen=seen)


def judged_kill(
    lab: Lab,
    command: Command,
    wanted: Reference,
    running: warm.Running,
    *,
    trial: str,
    seen: str,
) -> Iterator[Outcome]:
    """Judge what a killed command left, and what the same command then makes of it."""
    if neither := lost(lab, command, wanted):
        yield Outcome(
            trial=f"{trial}, result", verdict="neither old nor new", detail=f"{seen}; {neither}"
        )
    try:
        yield from judged_again(lab, command, wanted, trial=trial, seen=seen, killed=running.pid)
    finally:
        warm.end_session(running)


def _killed(running: warm.Running, moment_s: float, *, whole: bool) -> warm.Ended:
    """Kill a process, or its whole session, at a moment; it may have ended before."""
    if whole:
        time.sleep(moment_s)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    return warm.finish(running, kill_after_s=moment_s)
