"""The verdicts of a review: what was said so far, what is added, and what it certifies."""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import UserError
from atlas.dataset.artifacts import SAME_IMAGE, SIBLING
from atlas.dataset.corrections import write_corrections
from atlas.dataset.tables import CORRECTIONS_TABLE
from atlas.dataset.verdicts import (
    VERDICTS_NAME,
    Correction,
    Judgement,
    Pair,
    Verdict,
    Verdicts,
    add_verdicts,
    read_verdicts,
    sorted_pair,
)
from atlas.workflows.review.queue import Item, LabelsToReview, PairToReview, Queue
from index.claims.review_certificate import ReviewCertificate, random_order
from index.claims.verdicts import certified_by_review, pairs_to_review

RELATIONS = (SAME_IMAGE, SIBLING)
SETTLED_NS = 100_000_000  # a file that changed so shortly ago can change at the same recorded time
REPLACED = "an image was replaced while you looked at it; reload the page"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a person says about an item.

    Attributes:
        token: The name that the sender gives to the row, see `Verdict`.
        name: The name of the item.
        version: The version of its images that the person looked at, see `Review.version`.
        reviewer: The name of the person.
        verdict: The verdict on a pair, or None for labels.
        labels: The right labels of an image; None takes back what was said before.
    """

    token: str
    name: str
    version: str
    reviewer: str
    verdict: Judgement | None = None
    labels: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class SaidBefore:
    """A row of the file of verdicts that is about an item of the queue; see `Said`."""

    name: str
    reviewer: str
    verdict: Judgement | None = None
    labels: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Added:
    """What became of rows that were sent: the tokens that are in the file, and the refused ones."""

    saved: tuple[str, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """How many rows of each table somebody has read; rows are only ever added."""

    verdicts: int = 0
    corrections: int = 0


class Review:
    """The verdicts on a queue, which several people may give at the same time.

    All methods may be called by several threads at once.

    Args:
        queue: What is reviewed.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.reviewer_error = queue.calibration.settings.reviewer_error
        self.path = queue.run.path / VERDICTS_NAME
        self._file = _File(self.path)
        self._writing = threading.Lock()
        self._names_of_pair: defaultdict[Pair, list[str]] = defaultdict(list)
        for pair in queue.pairs:
            one, other = queue.keys(pair)
            self._names_of_pair[sorted_pair(one, other)].append(pair.name)
        self._names_of_image: defaultdict[str, list[str]] = defaultdict(list)
        for labels in queue.labels:
            self._names_of_image[queue.keys(labels)[0]].append(labels.name)
        self.samples = {
            relation: random_order(pairs_to_review(queue.by_scores, relation))
            for relation in RELATIONS
        }

    def version(self, item: Item) -> str:
        """Return a text that changes when an image of an item is replaced."""
        return "".join(key[:12] for key in self.queue.keys(item))

    def add(self, rows: Sequence[Said]) -> Added:
        """Add rows to the file. They are on the disk when this function returns.

        The table corrections.csv of the atlas follows them. A row about something that is not in
        the queue is refused, and so is one about images that show something else now.

        Raises:
            UserError: The file cannot be written.
        """
        refused = {row.token: why for row in rows if (why := self._why_refused(row))}
        kept = [row for row in rows if row.token not in refused]
        if kept:
            add_verdicts(
                self.path,
                [self._verdict(row) for row in kept if self._is_pair(row)],
                [self._correction(row) for row in kept if not self._is_pair(row)],
            )
        if not all(map(self._is_pair, kept)):
            self.write_corrections()
        return Added(saved=tuple(row.token for row in kept), refused=refused)

    def since(self, place: Place) -> tuple[list[SaidBefore], Place]:
        """Return what was said after a place, and the place where the file ends now.

        Raises:
            UserError: The file is damaged.
        """
        said = self._file.read()
        rows = [
            SaidBefore(name=name, reviewer=row.reviewer, verdict=row.verdict)
            for row in said.verdicts[place.verdicts :]
            for name in self._names_of_pair.get(sorted_pair(row.query_key, row.match_key), ())
        ]
        rows += [
            SaidBefore(name=name, reviewer=one.reviewer, labels=one.labels)
            for one in said.corrections[place.corrections :]
            for name in self._names_of_image.get(one.key, ())
        ]
        return rows, Place(len(said.verdicts), len(said.corrections))

    def certificates(self) -> dict[str, ReviewCertificate]:
        """Return what the verdicts certify about the claims of each relation that has any.

        Raises:
            UserError: The file is damaged.
        """
        judged = self._file.read().judged(self.queue.key_of)
        return {
            relation: certified_by_review(
                self.queue.by_scores, relation, judged, error_rate=self.reviewer_error
            )
            for relation, pairs in self.samples.items()
            if pairs
        }

    def write_corrections(self) -> None:
        """Let corrections.csv of the atlas follow what people say about labels.

        Rows of images that nobody has corrected here stay as they are.

        Raises:
            UserError: The file of verdicts is damaged, or the table cannot be written.
        """
        with self._writing:
            key_of = {one.image_id: self.queue.key_of[one.image_id] for one in self.queue.labels}
            try:
                write_corrections(self.queue.data, self._file.read(), key_of)
            except OSError as error:
                raise UserError(
                    f"{self.queue.data / CORRECTIONS_TABLE} cannot be written ({error.strerror}); "
                    "the corrections are kept in the run"
                ) from error

    def _is_pair(self, row: Said) -> bool:
        return isinstance(self.queue.items[row.name], PairToReview)

    def _why_refused(self, row: Said) -> str:
        item = self.queue.items.get(row.name)
        if item is None:
            return "this is not a part of the review any more; reload the page"
        if row.version != self.version(item):
            return REPLACED
        if isinstance(item, PairToReview):
            return "" if row.verdict is not None else "a verdict is missing"
        if row.labels == ():
            return "an image of the atlas must have a label"
        labels, count = row.labels or (), len(self.queue.spec.labels)
        wrong = [label for label in labels if not 0 <= label < count]
        return f"label {wrong[0]} is out of range 0\N{EN DASH}{count - 1}" if wrong else ""

    def _verdict(self, row: Said) -> Verdict:
        item = self.queue.items[row.name]
        assert isinstance(item, PairToReview)
        assert row.verdict is not None
        query_key, match_key = self.queue.keys(item)
        return Verdict(
            token=row.token, reviewer=row.reviewer, query_id=item.query_id, match_id=item.match_id,
            query_key=query_key, match_key=match_key, verdict=row.verdict,
        )  # fmt: skip

    def _correction(self, row: Said) -> Correction:
        item = self.queue.items[row.name]
        assert isinstance(item, LabelsToReview)
        (key,) = self.queue.keys(item)
        return Correction(
            token=row.token, reviewer=row.reviewer, id=item.image_id, key=key, labels=row.labels
        )


class _File:
    """A file of verdicts, which is read again only when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._signature: tuple[int, int] | None = None
        self._held = Verdicts()

    def read(self) -> Verdicts:
        with self._lock:
            try:
                stat = self._path.stat()
            except FileNotFoundError:
                return Verdicts()
            signature = (stat.st_mtime_ns, stat.st_size)
            if signature != self._signature:
                self._held = read_verdicts(self._path)
                settled = time.time_ns() - stat.st_mtime_ns > SETTLED_NS
                self._signature = signature if settled else None
            return self._held
