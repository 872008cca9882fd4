"""Kills directly before and after every call that changes the name of a file.

These are the moments at which a result is exchanged for another. They are counted by a library that
is loaded before any other (`shim.c`), in a first run that is not disturbed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.reliability import shim, warm
from benchmarks.reliability.commands import WRITERS, Command
from benchmarks.reliability.kills import judged_kill
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import Outcome

EVERY_UNLINK = 6  # files of an old result are removed one by one, which are equal moments
SMALL = 2  # moments of each command


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A call of a command, and whether the command is killed before or after it."""

    command: Command
    call: shim.Call
    when: str


def run(lab: Lab) -> None:
    """Kill every command at every change of a name."""
    if not shim.is_loaded():
        lab.ledger("renames").add(
            Outcome(trial="shim", verdict="not tried", detail="there is no C compiler")
        )
        return
    moments = [moment for command in WRITERS for moment in _moments(lab, command)]
    lab.random("renames").shuffle(moments)  # so that a stopped run has tried a sample of all
    trials = [(f"{m.command.name}, {m.when} {m.call.number}", m) for m in moments]
    lab.each("renames", trials, _attack)


def _moments(lab: Lab, command: Command) -> Iterator[Moment]:
    """Yield the moments of a command, from a run that is only watched."""
    lab.reference(command, old=True)
    log = lab.folder / "calls" / f"{command.name}.log"
    if not log.exists():
        log.parent.mkdir(exist_ok=True)
        lab.make_world(command, old=True)
        lab.run(command, prepare=shim.watch(lab.world, log))
    calls, unlinks = [], 0
    for call in shim.read_log(log)[0]:
        unlinks += call.name == "unlink"
        if call.name != "unlink" or unlinks % EVERY_UNLINK == 1:
            calls.append(call)
    if lab.small:
        calls = [call for call in calls if call.name == "rename"][-SMALL:]  # the whole result's
    for call in calls:
        yield Moment(command=command, call=call, when="before")
        if ".part/" not in call.path:  # between two calls in such a folder, nobody sees a change
            yield Moment(command=command, call=call, when="after")


def _attack(lab: Lab, trial: str, moment: Moment) -> Iterator[Outcome]:
    command, call = moment.command, moment.call
    wanted = lab.reference(command, old=True)
    lab.make_world(command, old=True)
    log = lab.scratch / "calls.log"
    watch = shim.watch(lab.world, log, kill=call.number, when=moment.when)
    running = warm.start(
        command.words(lab.places), lab.world, logs=lab.logs, environment=lab.environment,
        prepare=watch,
    )  # fmt: skip
    warm.finish(running)
    calls, _ = shim.read_log(log)
    log.unlink(missing_ok=True)
    at = calls[-1].path.removeprefix(f"{lab.world}/") if calls else "?"
    seen = f"{moment.when} {call.name} to {at}"
    yield from judged_kill(lab, command, wanted, running, trial=trial, seen=seen)
