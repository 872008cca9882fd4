"""What the attacks found: a line of JSON for each trial, and a table of all parts."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HELD = "held"
SHOWN_FAULTS = 12


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a trial.

    Attributes:
        trial: The name of the trial, which is the same in every run.
        verdict: "held", or the class of the fault.
        detail: What was seen, in one line.
        group: The row of the table that counts the trial.
        count: The number of inputs that the trial stands for.
    """

    trial: str
    verdict: str = HELD
    detail: str = ""
    group: str = ""
    count: int = 1


class Ledger:
    """The outcomes of one part, in a file to which several processes append.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, outcome: Outcome) -> None:
        """Append an outcome in one system call, so that lines of two processes never mix."""
        line = json.dumps(asdict(outcome), ensure_ascii=True) + "\n"
        opened = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(opened, line.encode())
        finally:
            os.close(opened)

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes so far; a line that a killed run has cut short is left out."""
        return list(self._read())

    def done(self) -> frozenset[str]:
        """Return the names of the trials that have an outcome."""
        return frozenset(outcome.trial for outcome in self._read())

    def _read(self) -> Iterator[Outcome]:
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                yield Outcome(**json.loads(line))
            except (ValueError, TypeError):
                continue


def one_line(text: str, *, length: int = 240) -> str:
    """Return a text without line breaks, cut to a length from its end, where errors stand."""
    joined = " ".join(text.split())
    return joined if len(joined) <= length else f"... {joined[-length:]}"


def markdown(parts: Mapping[str, tuple[str, Sequence[Outcome]]], *, about: str) -> str:
    """Return the table of all attacks, and the faults of each part.

    Args:
        parts: The description and outcomes of each part, by name.
        about: What was attacked, and where.
    """
    rows = ["| attack | trials | held | faults |", "|---|---|---|---|"]
    sections = []
    for name, (description, outcomes) in parts.items():
        for group, members in _groups(outcomes).items():
            rows.append(_row(f"{description}{f': {group}' if group else ''}", members))
        if faults := [o for o in outcomes if o.verdict != HELD]:
            sections += [f"## Faults: {name}", *_fault_lines(faults), ""]
    return "\n".join(["# Attacks", "", about, "", *rows, "", *sections])


def _groups(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.group, []).append(outcome)
    return groups


def _row(title: str, outcomes: Sequence[Outcome]) -> str:
    faults: Counter[str] = Counter()
    for outcome in outcomes:
        faults[outcome.verdict] += outcome.count
    held, total = faults.pop(HELD, 0), sum(outcome.count for outcome in outcomes)
    said = ", ".join(f"{count:,} {verdict}" for verdict, count in faults.most_common()) or "none"
    return f"| {title} | {total:,} | {held:,} | {said} |"


def _fault_lines(faults: Sequence[Outcome]) -> Iterator[str]:
    """Yield a few faults of each class."""
    shown: Counter[str] = Counter()
    for fault in faults:
        shown[fault.verdict] += 1
        if shown[fault.verdict] <= SHOWN_FAULTS:
            detail = fault.detail.replace("|", "/")
            yield f"- {fault.verdict}: `{fault.trial}`: {detail}"
    for verdict, count in shown.items():
        if count > SHOWN_FAULTS:
            yield f"- {verdict}: {count - SHOWN_FAULTS} more"
