"""Verdicts of people: which images show the same, which labels are right, and which copies stay.

They lie in an SQLite file beside the results of a run, to which rows are only ever added: a verdict
that is withdrawn stays in it, followed by a row that says so. A verdict holds for the images that
were looked at, whatever their ids are, so it names the key of each (`image_keys.py`).

Of several rows of a reviewer about the same, the latest counts: the row with the latest time, and
of equal times the one that was added last. So a table of old verdicts, which is imported later,
does not replace what its reviewer has said since.
"""

import json
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from atlas.core.database import Layout, layout_number, opened_database
from atlas.core.files import content_hash

VERDICTS_NAME = "verdicts.db"
Judgement = Literal["same", "sibling", "different", "unsure", "withdrawn"]
SAME, ALIKE, DIFFERENT, UNSURE, WITHDRAWN = get_args(Judgement)
Decision = Literal["kept", "withdrawn"]
KEPT: Decision = "kept"
TABLES = ("verdicts", "corrections", "choices")
# Nobody changes or removes what a person has said, not even by hand.
_GUARDS = {
    table: "".join(
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'rows are only ever added'); END;\n"
        for verb in ("UPDATE", "DELETE")
    )
    for table in TABLES
}
_FIRST = """
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, time TEXT NOT NULL,
    reviewer TEXT NOT NULL, query_id TEXT NOT NULL, match_id TEXT NOT NULL,
    query_key TEXT NOT NULL, match_key TEXT NOT NULL, verdict TEXT NOT NULL
        CHECK (verdict IN ('same', 'sibling', 'different', 'unsure', 'withdrawn')));
CREATE TABLE corrections (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, time TEXT NOT NULL,
    reviewer TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, labels TEXT);
"""
_CHOICES = """
CREATE TABLE choices (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, time TEXT NOT NULL,
    reviewer TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, choice TEXT NOT NULL
        CHECK (choice IN ('kept', 'withdrawn')));
"""
WITH_CHOICES = 2
_LAYOUT = Layout(
    steps={
        1: _FIRST + _GUARDS["verdicts"] + _GUARDS["corrections"],
        WITH_CHOICES: _CHOICES + _GUARDS["choices"],
    },
    noun="a file of verdicts",
    when_damaged="restore it from a backup or from exported verdicts",
)

Pair = tuple[str, str]
Key = TypeVar("Key")
Said = TypeVar("Said")
Row = TypeVar("Row", "Verdict", "Correction", "Choice")


def now() -> str:
    """Return the time in UTC, such as 2026-11-28T12:00:00.000+00:00."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_token() -> str:
    """Return a name for a row that no other row has."""
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a person says about a pair of images.

    Attributes:
        query_id, match_id: The ids of the images when they were looked at.
        query_key, match_key: Their keys, see `image_keys.py`.
        verdict: Same picture, sibling, different, unsure, or withdrawn, which takes back what the
            same reviewer said before.
        reviewer: The name of the person.
        time: When it was given, as `now` writes it. A row without a time gets it when it is added.
        token: The name of the row. A row whose token is already in the file is not added again, so
            a sender that got no answer may repeat itself.
    """

    token: str = field(default_factory=new_token)
    time: str = ""
    reviewer: str = ""
    query_id: str
    match_id: str
    query_key: str
    match_key: str
    verdict: Judgement


@dataclass(frozen=True, kw_only=True)
class Correction:
    """The labels that a person gives to an image.

    Attributes:
        id: The id of the image when it was looked at.
        key: Its key, see `image_keys.py`.
        labels: The right labels, or None, which takes back what the same reviewer said before.
        reviewer, time, token: See `Verdict`.
    """

    token: str = field(default_factory=new_token)
    time: str = ""
    reviewer: str = ""
    id: str
    key: str
    labels: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """That an image stays in its group of copies, see `chosen_images.py`.

    Attributes:
        id: The id of the image when it was looked at.
        key: Its key, see `image_keys.py`.
        choice: Kept, or withdrawn, which takes back what the same reviewer said about the group.
        reviewer, time, token: See `Verdict`.
    """

    token: str = field(default_factory=new_token)
    time: str = ""
    reviewer: str = ""
    id: str
    key: str
    choice: Decision = KEPT


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What people have said about the pairs and labels of given images, as it stands.

    Attributes:
        pairs: The verdict on each pair of ids, sorted within the pair. It is unsure if reviewers
            disagree.
        labels: The corrected labels of images, by id. Images about which reviewers disagree are
            left out.
        looked_at: The ids of all images whose labels somebody has corrected at some time.
        stale: The number of verdicts and corrections about images that are not there, or show
            something else now.
    """

    pairs: Mapping[Pair, Judgement] = field(default_factory=dict)
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    looked_at: frozenset[str] = frozenset()
    stale: int = 0

    def of(self, one: str, other: str) -> Judgement | None:
        """Return the verdict on a pair of ids, or None."""
        return self.pairs.get(sorted_pair(one, other))

    def with_verdict(self, verdict: Judgement) -> frozenset[Pair]:
        """Return the pairs with this verdict."""
        return frozenset(pair for pair, said in self.pairs.items() if said == verdict)


NOTHING_JUDGED = Judged()


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """All rows of a file of verdicts, in the order in which they were added."""

    verdicts: tuple[Verdict, ...] = ()
    corrections: tuple[Correction, ...] = ()
    choices: tuple[Choice, ...] = ()

    @property
    def rows(self) -> "tuple[Verdict | Correction | Choice, ...]":
        """All rows, table by table."""
        return (*self.verdicts, *self.corrections, *self.choices)

    @cached_property
    def latest_verdicts(self) -> dict[tuple[Pair, str], Verdict]:
        """The latest verdict of each reviewer on each pair of keys, sorted within the pair."""
        return {(sorted_pair(v.query_key, v.match_key), v.reviewer): v
                for v in by_time(self.verdicts)}  # fmt: skip

    @cached_property
    def latest_corrections(self) -> dict[tuple[str, str], Correction]:
        """The latest correction by each reviewer of the image with each key."""
        return {(c.key, c.reviewer): c for c in by_time(self.corrections)}

    @cached_property
    def hash(self) -> str:
        """A hash of the verdicts, by which results notice new ones; "" if there are none."""
        return content_hash(*(v.token for v in self.verdicts)) if self.verdicts else ""

    def judged(self, key_of: Mapping[str, str]) -> Judged:
        """Return what stands for images with these keys, by id."""
        ids_of: defaultdict[str, list[str]] = defaultdict(list)
        for image_id, key in key_of.items():
            ids_of[key].append(image_id)
        said = {about: row.verdict for about, row in self.latest_verdicts.items()}
        pairs: dict[Pair, Judgement] = {}
        stale = 0
        for (one, other), verdict in _agreed(said, WITHDRAWN, UNSURE).items():
            named = [(a, b) for a, b in product(ids_of[one], ids_of[other]) if a != b]
            stale += not named
            pairs |= {sorted_pair(a, b): verdict for a, b in named}
        given = {about: row.labels for about, row in self.latest_corrections.items()}
        labels: dict[str, tuple[int, ...]] = {}
        for key, right in _agreed(given, None, None).items():
            stale += not ids_of[key]
            if right is not None:
                labels |= dict.fromkeys(ids_of[key], right)
        looked_at = frozenset(i for c in self.corrections for i in ids_of[c.key])
        return Judged(pairs=pairs, labels=labels, looked_at=looked_at, stale=stale)


def by_time(rows: Iterable[Row]) -> list[Row]:
    """Return rows from the earliest to the latest; of equal times, in the order of the file."""
    return sorted(rows, key=lambda row: row.time)


def sorted_pair(one: str, other: str) -> Pair:
    """Return a pair in the order of its texts."""
    return (one, other) if one < other else (other, one)


def verdicts_beside(out: Path) -> Path:
    """Return the file of verdicts of the run to which a result belongs."""
    return out.parent / VERDICTS_NAME


def read_verdicts(path: Path) -> Verdicts:
    """Return everything that people said in a file. A file that does not exist says nothing.

    Raises:
        UserError: The file is damaged, or is not a file of verdicts.
    """
    if not path.exists():
        return Verdicts()
    with opened_database(path, _LAYOUT) as file:
        verdicts = tuple(Verdict(**row) for row in _rows(file, "verdicts", Verdict))
        corrections = tuple(
            Correction(**{**row, "labels": _labels(row["labels"])})
            for row in _rows(file, "corrections", Correction)
        )
        rows = _rows(file, "choices", Choice) if layout_number(file) >= WITH_CHOICES else ()
        choices = tuple(Choice(**row) for row in rows)
    return Verdicts(verdicts=verdicts, corrections=corrections, choices=choices)


def add_verdicts(
    path: Path,
    verdicts: Sequence[Verdict] = (),
    corrections: Sequence[Correction] = (),
    choices: Sequence[Choice] = (),
) -> int:
    """Add rows to a file of verdicts, which is created if there is none, and return their number.

    They are on the disk when this function returns: all of them, or none. Rows whose token is
    already in the file are not added again. Several processes may add rows at the same time.

    A row without a time is given now. So that it counts, its time is not before those of the other
    rows of its reviewer, whose clock may have been ahead.

    Raises:
        UserError: The file is damaged, cannot be written, or is not a file of verdicts.
    """
    with opened_database(path, _LAYOUT, create=True) as file, file:
        file.execute("BEGIN IMMEDIATE")
        before = file.total_changes
        given = Verdicts(
            verdicts=tuple(verdicts), corrections=tuple(corrections), choices=tuple(choices)
        )
        without_time = {row.reviewer for row in given.rows if not row.time}
        time_now = now()  # one for all, which keeps the order of reviewers within a call
        times = {who: max(time_now, _latest_time(file, who)) for who in without_time}

        def insert(table: str, row: Verdict | Correction | Choice, **changes: str | None) -> None:
            time = row.time or times[row.reviewer]
            _insert(file, table, {**asdict(row), "time": time, **changes})

        for one in verdicts:
            insert("verdicts", one)
        for other in corrections:
            labels = None if other.labels is None else json.dumps(other.labels)
            insert("corrections", other, labels=labels)
        for choice in choices:
            insert("choices", choice)
        return file.total_changes - before


def _latest_time(file: sqlite3.Connection, reviewer: str) -> str:
    """Return the time of the latest row of a reviewer, or "" if there is none."""
    texts = " UNION ALL ".join(
        f"SELECT max(time) AS latest FROM {table} WHERE reviewer = :who" for table in TABLES
    )
    found = file.execute(f"SELECT max(latest) FROM ({texts})", {"who": reviewer}).fetchone()[0]
    return str(found or "")


def _rows(file: sqlite3.Connection, table: str, kind: type) -> Iterator[dict[str, Any]]:
    names = [one.name for one in fields(kind)]
    for row in file.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY number"):
        yield dict(zip(names, row, strict=True))


def _insert(file: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    file.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
        "ON CONFLICT (token) DO NOTHING",
        tuple(row.values()),
    )


def _labels(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(json.loads(text))


def _agreed(
    said: Mapping[tuple[Key, str], Said], withdrawn: Said, disputed: Said
) -> dict[Key, Said]:
    """Return what all reviewers say who have not withdrawn it, or `disputed`."""
    each: defaultdict[Key, set[Said]] = defaultdict(set)
    for (key, _), one in said.items():
        if one != withdrawn:
            each[key].add(one)
    return {key: all_.pop() if len(all_) == 1 else disputed for key, all_ in each.items()}
