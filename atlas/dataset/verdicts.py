"""Verdicts of people: which pairs of images show the same, and which labels are right.

They lie in an SQLite file beside the results of a run, to which rows are only ever added: a verdict
that is withdrawn stays in it, followed by a row that says so. A verdict holds for the two images
that were looked at, whatever their ids are, so it names the key of each (`image_keys.py`).
"""

import json
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from atlas.core.database import Layout, opened_database
from atlas.core.files import content_hash

VERDICTS_NAME = "verdicts.db"
Judgement = Literal["same", "sibling", "different", "unsure", "withdrawn"]
SAME, ALIKE, DIFFERENT, UNSURE, WITHDRAWN = get_args(Judgement)
_TABLES = """
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, time TEXT NOT NULL,
    reviewer TEXT NOT NULL, query_id TEXT NOT NULL, match_id TEXT NOT NULL,
    query_key TEXT NOT NULL, match_key TEXT NOT NULL, verdict TEXT NOT NULL
        CHECK (verdict IN ('same', 'sibling', 'different', 'unsure', 'withdrawn')));
CREATE TABLE corrections (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, time TEXT NOT NULL,
    reviewer TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, labels TEXT);
"""
# Nobody changes or removes what a person has said, not even by hand.
_GUARDS = "".join(
    f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'rows are only ever added'); END;\n"
    for table in ("verdicts", "corrections")
    for verb in ("UPDATE", "DELETE")
)
_LAYOUT = Layout(
    statements=_TABLES + _GUARDS,
    version=1,
    noun="a file of verdicts",
    when_damaged="restore it from a backup or from exported verdicts",
)

Pair = tuple[str, str]
Key = TypeVar("Key")
Said = TypeVar("Said")


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
        time: When it was given, in UTC.
        token: The name of the row. A row whose token is already in the file is not added again, so
            a sender that got no answer may repeat itself.
    """

    token: str = field(default_factory=new_token)
    time: str = field(default_factory=now)
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
    time: str = field(default_factory=now)
    reviewer: str = ""
    id: str
    key: str
    labels: tuple[int, ...] | None


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

    @cached_property
    def hash(self) -> str:
        """A hash of the verdicts, by which results notice new ones; "" if there are none."""
        return content_hash(*(v.token for v in self.verdicts)) if self.verdicts else ""

    def judged(self, key_of: Mapping[str, str]) -> Judged:
        """Return what stands for images with these keys, by id."""
        ids_of: defaultdict[str, list[str]] = defaultdict(list)
        for image_id, key in key_of.items():
            ids_of[key].append(image_id)
        said = {(sorted_pair(v.query_key, v.match_key), v.reviewer): v.verdict
                for v in self.verdicts}  # fmt: skip
        pairs: dict[Pair, Judgement] = {}
        stale = 0
        for (one, other), verdict in _agreed(said, WITHDRAWN, UNSURE).items():
            named = [(a, b) for a, b in product(ids_of[one], ids_of[other]) if a != b]
            stale += not named
            pairs |= {sorted_pair(a, b): verdict for a, b in named}
        given = {(c.key, c.reviewer): c.labels for c in self.corrections}
        labels: dict[str, tuple[int, ...]] = {}
        for key, right in _agreed(given, None, None).items():
            stale += not ids_of[key]
            if right is not None:
                labels |= dict.fromkeys(ids_of[key], right)
        looked_at = frozenset(i for c in self.corrections for i in ids_of[c.key])
        return Judged(pairs=pairs, labels=labels, looked_at=looked_at, stale=stale)


def sorted_pair(one: str, other: str) -> Pair:
    """Return a pair in the order of its texts."""
    return (one, other) if one < other else (other, one)


def verdicts_beside(out: Path) -> Path:
    """Return the file of verdicts of the run to which a result belongs."""
    return out.parent / VERDICTS_NAME


def read_verdicts(path: Path) -> Verdicts:
    """Return all verdicts and corrections in a file. A file that does not exist has none.

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
    return Verdicts(verdicts=verdicts, corrections=corrections)


def add_verdicts(
    path: Path, verdicts: Sequence[Verdict] = (), corrections: Sequence[Correction] = ()
) -> int:
    """Add rows to a file of verdicts, which is created if there is none, and return their number.

    They are on the disk when this function returns: all of them, or none. Rows whose token is
    already in the file are not added again. Several processes may add rows at the same time.

    Raises:
        UserError: The file is damaged, cannot be written, or is not a file of verdicts.
    """
    with opened_database(path, _LAYOUT, create=True) as file, file:
        file.execute("BEGIN IMMEDIATE")
        before = file.total_changes
        for one in verdicts:
            _insert(file, "verdicts", asdict(one))
        for other in corrections:
            labels = None if other.labels is None else json.dumps(other.labels)
            _insert(file, "corrections", {**asdict(other), "labels": labels})
        return file.total_changes - before


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
