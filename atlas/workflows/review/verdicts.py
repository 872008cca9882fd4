"""The verdicts of a review: what was said so far, what is added, and what it certifies."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, cast, get_args

from atlas.core.errors import UserError
from atlas.core.files import content_hash
from atlas.core.kept_fresh import KeptFresh
from atlas.dataset.artifacts import SAME_IMAGE, SIBLING
from atlas.dataset.chosen_images import latest_words
from atlas.dataset.corrections import write_corrections
from atlas.dataset.tables import CORRECTIONS_TABLE
from atlas.dataset.verdicts import (
    KEPT,
    VERDICTS_NAME,
    WITHDRAWN,
    Choice,
    Correction,
    Decision,
    Judgement,
    Pair,
    Verdict,
    Verdicts,
    add_verdicts,
    read_verdicts,
    sorted_pair,
)
from atlas.workflows.review.groups import GroupToReview
from atlas.workflows.review.queue import Item, LabelsToReview, PairToReview, Queue
from index.claims.review_certificate import ReviewCertificate, random_order
from index.claims.verdicts import certified_by_review, pairs_to_review
from index.settings import LeakSettings

RELATIONS = (SAME_IMAGE, SIBLING)
REPLACED = "an image was replaced while you looked at it; reload the page"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a person says about an item.

    Attributes:
        token: The name that the sender gives to the row, see `Verdict`.
        name: The name of the item.
        version: The version of its images that the person looked at, see `Review.version`.
        reviewer: The name of the person.
        verdict: The verdict on a pair, or that an image of a group is kept; None for labels.
        labels: The right labels of an image; None takes back what was said before.
        image: The image of a group that it is about; None for other items.
        other: The other image, if it is about two images of a group.
    """

    token: str
    name: str
    version: str
    reviewer: str
    verdict: Judgement | Decision | None = None
    labels: tuple[int, ...] | None = None
    image: str | None = None
    other: str | None = None


@dataclass(frozen=True, kw_only=True)
class SaidBefore:
    """A row of the file of verdicts that is about an item of the queue; see `Said`."""

    name: str
    reviewer: str
    verdict: Judgement | Decision | None = None
    labels: tuple[int, ...] | None = None
    image: str | None = None
    other: str | None = None


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
    choices: int = 0


class Review:
    """The verdicts on a queue, which several people may give at the same time.

    All methods may be called by several threads at once.

    Args:
        queue: What is reviewed.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        settings = queue.calibration.settings if queue.calibration else LeakSettings()
        self.reviewer_error = settings.reviewer_error
        self.path = queue.run.path / VERDICTS_NAME
        self._said = KeptFresh(lambda: read_verdicts(self.path), [self.path])
        self._writing = threading.Lock()
        self._names_of_pair: defaultdict[Pair, list[str]] = defaultdict(list)
        for pair in queue.pairs:
            one, other = queue.keys(pair)
            self._names_of_pair[sorted_pair(one, other)].append(pair.name)
        self._names_of_image: defaultdict[str, list[str]] = defaultdict(list)
        for labels in queue.labels:
            self._names_of_image[queue.keys(labels)[0]].append(labels.name)
        self._groups_of_image: defaultdict[str, list[tuple[GroupToReview, str]]] = defaultdict(list)
        for group in queue.groups:
            for image_id in group.ids:
                self._groups_of_image[queue.key_of[image_id]].append((group, image_id))
        self.samples = {
            relation: random_order(pairs_to_review(queue.by_scores, relation))
            for relation in RELATIONS
        }

    def version(self, item: Item) -> str:
        """Return a text that changes when an image of an item is replaced."""
        keys = self.queue.keys(item)
        if isinstance(item, GroupToReview):  # which may have many images
            return content_hash(*keys)[:24]
        return "".join(key[:12] for key in keys)

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
            rows_of: defaultdict[type, list[Any]] = defaultdict(list)
            for row in kept:
                added = self._as_row(row)
                rows_of[type(added)].append(added)
            add_verdicts(self.path, rows_of[Verdict], rows_of[Correction], rows_of[Choice])
            if rows_of[Correction]:
                self.write_corrections()
        return Added(saved=tuple(row.token for row in kept), refused=refused)

    def since(self, place: Place) -> tuple[list[SaidBefore], Place]:
        """Return what stands of that about which something was said after a place, and the end.

        A row that was added last may be older than another one of its reviewer, which then stands.

        Raises:
            UserError: The file is damaged.
        """
        said = self._said.get()
        pairs = (
            (sorted_pair(row.query_key, row.match_key), row.reviewer)
            for row in said.verdicts[place.verdicts :]
        )
        images = ((row.key, row.reviewer) for row in said.corrections[place.corrections :])
        rows: list[SaidBefore] = []
        for about in dict.fromkeys(pairs):
            rows += self._on_pair(said.latest_verdicts[about])
        for about_image in dict.fromkeys(images):
            latest = said.latest_corrections[about_image]
            rows += [
                SaidBefore(name=name, reviewer=latest.reviewer, labels=latest.labels)
                for name in self._names_of_image.get(latest.key, ())
            ]
        rows += self._on_groups(said, place)
        return rows, Place(len(said.verdicts), len(said.corrections), len(said.choices))

    def _on_pair(self, one: Verdict) -> Iterator[SaidBefore]:
        """Yield a verdict for each item that shows the two images."""
        said = SaidBefore(name="", reviewer=one.reviewer, verdict=one.verdict)
        keys = sorted_pair(one.query_key, one.match_key)
        for name in self._names_of_pair.get(keys, ()):
            yield replace(said, name=name)
        groups = [self._groups_of_image.get(key, ()) for key in keys]
        for (group, image), (same, other) in product(*groups):
            if group is same and image != other:
                yield replace(said, name=group.name, image=image, other=other)

    def _on_groups(self, said: Verdicts, place: Place) -> Iterator[SaidBefore]:
        """Yield who has chosen what in each group about which something was said after a place."""
        touched = {
            group.name: group
            for row in said.choices[place.choices :]
            for group, _ in self._groups_of_image.get(row.key, ())
        }
        for name, group in touched.items():
            words = latest_words(said, dict.fromkeys(group.ids, name), self.queue.key_of)
            for reviewer, image in words[name].items():
                yield SaidBefore(
                    name=name, reviewer=reviewer, verdict=KEPT if image else WITHDRAWN,
                    image=image or None,
                )  # fmt: skip

    def certificates(self) -> dict[str, ReviewCertificate]:
        """Return what the verdicts certify about the claims of each relation that has any.

        Raises:
            UserError: The file is damaged.
        """
        judged = self._said.get().judged(self.queue.key_of)
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
                write_corrections(self.queue.data, self._said.get(), key_of)
            except OSError as error:
                raise UserError(
                    f"{self.queue.data / CORRECTIONS_TABLE} cannot be written ({error.strerror}); "
                    "the corrections are kept in the run"
                ) from error

    def _as_row(self, row: Said) -> Verdict | Correction | Choice:
        item = self.queue.items[row.name]
        if isinstance(item, PairToReview):
            return self._verdict(row, item.query_id, item.match_id)
        if isinstance(item, LabelsToReview):
            return Correction(
                token=row.token, reviewer=row.reviewer, id=item.image_id,
                key=self.queue.key_of[item.image_id], labels=row.labels,
            )  # fmt: skip
        assert row.image is not None
        if row.other is not None:
            return self._verdict(row, row.image, row.other)
        assert row.verdict in get_args(Decision)
        return Choice(
            token=row.token, reviewer=row.reviewer, id=row.image,
            key=self.queue.key_of[row.image], choice=cast(Decision, row.verdict),
        )  # fmt: skip

    def _verdict(self, row: Said, query_id: str, match_id: str) -> Verdict:
        assert row.verdict in get_args(Judgement)
        return Verdict(
            token=row.token, reviewer=row.reviewer, query_id=query_id, match_id=match_id,
            query_key=self.queue.key_of[query_id], match_key=self.queue.key_of[match_id],
            verdict=cast(Judgement, row.verdict),
        )  # fmt: skip

    def _why_refused(self, row: Said) -> str:
        item = self.queue.items.get(row.name)
        if item is None:
            return "this is not a part of the review any more; reload the page"
        if row.version != self.version(item):
            return REPLACED
        if isinstance(item, PairToReview):
            return "" if row.verdict in get_args(Judgement) else "a verdict is missing"
        if isinstance(item, GroupToReview):
            return _why_not_in_group(row, item, self.queue.key_of)
        if row.labels == ():
            return "an image of the atlas must have a label"
        labels, count = row.labels or (), len(self.queue.spec.labels)
        wrong = [label for label in labels if not 0 <= label < count]
        return f"label {wrong[0]} is out of range 0\N{EN DASH}{count - 1}" if wrong else ""


def _why_not_in_group(row: Said, group: GroupToReview, key_of: Mapping[str, str]) -> str:
    """Return why something cannot be said about a group, or ""."""
    if row.image not in group.by_id or (row.other is not None and row.other not in group.by_id):
        return "the image is not in this group any more; reload the page"
    if row.other is None:
        if row.verdict not in get_args(Decision):
            return "a choice is missing"
        if row.verdict == KEPT and (parent := group.by_id[row.image].made_from):
            return f"{row.image} was made from {parent}, so it cannot replace that image"
        return ""
    if row.verdict not in get_args(Judgement):
        return "a verdict is missing"
    if key_of[row.image] == key_of[row.other]:
        return f"{row.image} and {row.other} have equal files, so they show the same"
    return ""
