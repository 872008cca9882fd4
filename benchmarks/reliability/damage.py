"""Own files that are damaged: each is refused by name, or healed, or changes nothing.

A refusal names the file and a command; that command is run, and what read the file must then give
the result of undamaged files. Whether it does is tried once for each file and command.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from atlas.cli.commands import COMMANDS
from benchmarks.reliability import warm
from benchmarks.reliability.commands import (
    AGAIN,
    BASE,
    CHECK,
    EMBED,
    EXPLAIN,
    LOOKUP,
    PREDICT_ANEW,
    WRITERS,
    Command,
    named,
)
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import HELD, Outcome, one_line
from benchmarks.reliability.world import copy_tree, difference, remove

DAMAGES, DAMAGES_SMALL = 1000, 24
LIMIT_S = 60.0
KINDS = (
    "flip a bit", "zero 65 bytes", "zero 512 bytes", "cut to nothing", "cut in half",
    "cut the last byte", "append bytes", "delete", "swap", "older version",
)  # fmt: skip
# Pictures, pages and records of training that no command reads.
UNREAD = (".png", ".html", ".md", ".parquet")
UNREAD_FILES = (
    "metrics.csv", "confused.csv", "missed_and_added.csv", "by_class.csv", "class_f1.csv",
    "disagreements.csv", "leaks.json", "submission_without_transfer.csv",
)  # fmt: skip
UNREAD_FOLDERS = ("logs", "pictures", "clean")


# The share of each folder of the base in the trials.
SHARES = {"index": 30, "leaks": 20, "classifier": 14, "submission": 8, "store": 20, "embedder": 8}
# The commands that read a file, by the beginning of its path; the first that fits counts.
READERS: Mapping[str, tuple[Command, ...]] = {
    "run/index/embedder": (LOOKUP,),
    "run/index": (
        LOOKUP, named("find-leaks"), named("audit-labels"), named("remove-duplicates"),
        named("update"),
    ),
    "run/leaks/leaks.csv": (named("make-submission"), EXPLAIN, named("update")),
    "run/leaks/groups.csv": (named("make-submission"), EXPLAIN),
    "run/leaks/matches.csv": (EXPLAIN,),
    "run/leaks": (named("update"), EXPLAIN),
    "run/classifier/weights": (PREDICT_ANEW,),
    "run/classifier/classifier.json": (PREDICT_ANEW, EXPLAIN),
    "run/classifier/checkpoints": (named("train-classifier"),),
    "run/classifier/settings.json": (named("train-classifier"),),
    "run/classifier": (named("make-submission"), EXPLAIN, named("update")),
    "run/submission/submission.csv": (CHECK, EXPLAIN),
    "run/submission": (EXPLAIN, named("update")),
    "run/store/64px": (named("train-classifier"), named("train-embedder"), named("find-leaks")),
    "run/store/probabilities": (named("predict"),),
    "run/store/runtimes": (AGAIN, named("find-leaks")),
    "run/store/explored": (named("explore"),),
    "run/store": (named("find-leaks"), AGAIN),
    "run/embedder/checkpoints": (named("train-embedder"),),
    "run/embedder/settings.json": (named("train-embedder"),),
    "run/embedder/start.json": (named("train-embedder"),),
    "run/embedder": (EMBED,),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A file of the base, what is done to it, and the command that reads it afterwards."""

    file: str
    kind: str
    reader: Command
    number: int


def run(lab: Lab) -> None:
    """Damage files of the base, one for each trial."""
    _make_older(lab)
    count = DAMAGES_SMALL if lab.small else DAMAGES
    trials = [_drawn(lab, number) for number in range(count)]
    lab.each("damage", [(f"damage {t.number}", t) for t in trials], _attack)


def apply(path: Path, kind: str, dice: random.Random, *, other: Path | None) -> bool:
    """Damage a file, and return whether its bytes changed.

    Args:
        path: The file. It may be a link to a file that must stay as it is.
        kind: What is done, see KINDS.
        dice: Random numbers.
        other: The file that takes its place, for "swap" and "older version".
    """
    whole = path.read_bytes()
    path.unlink()
    if kind == "delete":
        return True
    damaged = other.read_bytes() if other else damaged_bytes(whole, kind, dice)
    path.write_bytes(damaged)
    return damaged != whole


def damaged_bytes(whole: bytes, kind: str, dice: random.Random) -> bytes:
    """Return the bytes of a damaged file."""
    at = dice.randrange(len(whole)) if whole else 0
    if kind == "flip a bit" and whole:
        return whole[:at] + bytes([whole[at] ^ (1 << dice.randrange(8))]) + whole[at + 1 :]
    if kind.startswith("zero") and whole:
        length = min(int(kind.split()[1]), len(whole) - at)
        return whole[:at] + bytes(length) + whole[at + length :]
    cuts = {
        "cut to nothing": 0,
        "cut in half": len(whole) // 2,
        "cut the last byte": len(whole) - 1,
    }
    if kind in cuts:
        return whole[: max(0, cuts[kind])]
    return whole + dice.randbytes(16)


def _files(lab: Lab, name: str) -> list[str]:
    """Return the files of a folder of the base that a command reads."""
    folder = lab.base / "run" / name
    return sorted(
        str(path.relative_to(lab.base))
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in UNREAD
        and path.name not in UNREAD_FILES
        and not set(path.relative_to(folder).parts) & set(UNREAD_FOLDERS)
    )


def _drawn(lab: Lab, number: int) -> Damage:
    dice = lab.random("damage", number)
    folder = dice.choices(list(SHARES), list(SHARES.values()))[0]
    file = dice.choice(_files(lab, folder))
    readers = next(readers for start, readers in READERS.items() if file.startswith(start))
    return Damage(
        file=file, kind=KINDS[number % len(KINDS)], reader=dice.choice(readers), number=number
    )


def _other(lab: Lab, damage: Damage, dice: random.Random) -> Path | None:
    """Return the file that takes the place of another, or None where there is none."""
    path = lab.base / damage.file
    if damage.kind == "older version":
        older = lab.folder / "older" / damage.file
        return older if older.is_file() else None
    if damage.kind != "swap":
        return None
    above = lab.base.joinpath(*Path(damage.file).parts[:2])
    beside = [p for p in above.rglob(f"*{path.suffix}") if p.is_file() and p != path]
    return dice.choice(sorted(beside)) if beside else None


def _make_older(lab: Lab) -> None:
    """Keep results of the same commands with other options, which are files of older runs."""
    older = lab.folder / "older"
    if older.exists():
        return
    for name in ("build-index", "find-leaks", "make-submission"):
        command = named(name)
        lab.make_world(command, old=False)
        if name == "make-submission":
            remove(lab.world / "run/leaks")
            copy_tree(older / "run/leaks", lab.world / "run/leaks")
        if not lab.run(command).status:
            copy_tree(lab.world / command.out, older / command.out)
    for command in (LOOKUP, EXPLAIN, CHECK, EMBED, AGAIN, PREDICT_ANEW, *WRITERS):
        lab.reference(command, old=True)


def _attack(lab: Lab, trial: str, damage: Damage) -> Iterator[Outcome]:
    dice, reader = lab.random("damage of", damage.number), damage.reader
    wanted = lab.reference(reader, old=True)
    lab.make_world(reader, old=True)
    path = lab.world / damage.file
    if not path.exists():
        copy_tree(lab.base / damage.file, path)
    other = _other(lab, damage, dice)
    kind = "flip a bit" if other is None and damage.kind in KINDS[-2:] else damage.kind
    seen = f"{damage.file}: {kind}; {reader.name}"
    if not apply(path, kind, dice, other=other):
        yield Outcome(trial=trial, detail=f"{seen}; the bytes are equal")
        return
    ended = lab.run(reader, limit_s=LIMIT_S)
    verdict, detail = _judged(lab, damage, ended, wanted.out, wanted.after)
    yield Outcome(trial=trial, verdict=verdict, detail=f"{seen}; {detail}")


def _judged(
    lab: Lab, damage: Damage, ended: warm.Ended, out: str, after: Mapping[str, Mapping[str, str]]
) -> tuple[str, str]:
    if ended.fault:
        return ended.fault, one_line(ended.err)
    if ended.status == 0:
        differs = _differs(lab, damage, ended, out, after)
        return ("silent other result", differs) if differs else (HELD, "the same result")
    said = one_line(ended.err)
    if "error:" not in ended.err and ended.status == 1 and damage.reader is not CHECK:
        return "no error line", said
    name = Path(damage.file).name
    if name not in ended.err and str(Path(damage.file).parent) not in ended.err:
        return "file not named", said
    if damage.reader is CHECK:  # it lists the problems of a table, which may be anybody's
        return HELD, f"refused: {said}"
    return _remade(lab, damage, ended, out, after)


def _differs(
    lab: Lab, damage: Damage, ended: warm.Ended, out: str, after: Mapping[str, Mapping[str, str]]
) -> str:
    """Return which results differ from those of undamaged files, apart from the damaged file."""
    reader = damage.reader
    found = lab.results(reader)
    for name in reader.results or (reader.out,):
        own = damage.file.removeprefix(f"{name}/")
        now, wanted = (
            {
                path: said
                for path, said in tree.items()
                if path != own and not path.startswith(("store/", "logs/"))
            }
            for tree in (found[name], after[name])
        )
        if differs := difference(now, wanted):
            return f"{name}: {differs}"
    if reader.options.endswith("--json") and ended.out != out:
        return "another answer"
    return ""


def _remade(
    lab: Lab, damage: Damage, ended: warm.Ended, out: str, after: Mapping[str, Mapping[str, str]]
) -> tuple[str, str]:
    """Follow the advice of a refusal, and run the reading command again."""
    said = one_line(ended.err)
    words = re.findall(r"atlas ([a-z]+(?:-[a-z]+)*)", ended.err)
    advised = [word for word in words if word.replace("-", "_") in COMMANDS]
    removes = re.search(r"\b(?:remove|delete) +(\S+?)(?:[;,.]? |[;,.]?$)", ended.err, re.MULTILINE)
    if not advised and not removes:
        return "no advice", said
    known = lab.folder / "fixes" / re.sub(r"\W", "_", f"{damage.file} {advised[:1]}")
    if known.exists():
        return HELD, f"refused: {said}"
    if removes and lab.world in (lab.world / removes[1]).parents:
        remove(lab.world / removes[1])
    made_again = advised[0] if advised else ""
    if made_again and not _run_base(lab, made_again, damage.reader):
        return "advice does not help", f"{made_again} fails; {said}"
    if damage.reader.out in damage.file and made_again == damage.reader.options.split()[0]:
        return HELD, f"refused, and made again: {said}"
    again = lab.run(damage.reader, limit_s=LIMIT_S)
    updated = damage.reader.name == "update"  # keeps a calibration that is made anew here
    if again.fault or again.status or (not updated and _differs(lab, damage, again, out, after)):
        rest = one_line(again.err) or _differs(lab, damage, again, out, after)
        return "advice does not help", f"{said}; after {made_again or 'removing it'}: {rest}"
    known.parent.mkdir(exist_ok=True)
    known.touch()
    return HELD, f"refused, and remade: {said}"


def _run_base(lab: Lab, name: str, reader: Command) -> bool:
    """Run the command of the base with this name, with what it needs, and return its success.

    The images are those of the command that read the file.
    """
    command = next((c for c in BASE if c.name == name), None)
    if command is None:
        return False
    for need in ("run/index", "run/leaks", "run/classifier"):
        if need in command.options and need != command.out and not (lab.world / need).exists():
            copy_tree(lab.base / need, lab.world / need)
    places = lab.places
    if "{less}" in reader.options:
        places["data"] = places["less"]
    return lab.run_words(command.words(places), limit_s=2 * LIMIT_S).status == 0
