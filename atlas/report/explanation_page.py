"""How one row of a submission came to be, as a page that needs no other file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.report.leak_page import Relation
from atlas.report.pages import save_page
from atlas.report.pictures import Rgb, to_bytes, webp_uri

QUALITY = 82

Labels = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """uri: as `picture_uri` makes it. said: what is written below it."""

    said: str
    uri: str


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A labelled image near the row's. relation: "" where none is claimed; confidence: None then.

    registration score: correlation of the registered pixels. votes: whether its labels do.
    """

    id: str
    uri: str
    similarity: float
    registration_score: float
    relation: str
    confidence: float | None
    labels: Labels
    identity: str
    votes: bool


@dataclass(frozen=True, kw_only=True)
class Vote:
    labels: Labels
    share: float
    matches: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The best match. pair: the row's image and the match; of copies more."""

    match_id: str
    relation: str
    similarity: float
    registration_score: float | None
    confidence: float
    decision: str
    reason: str
    votes: Sequence[Vote]
    pair: Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A label and the classifier. own: before test images that show the same shared their mean.

    carried: whether any held-out image has it; else its threshold is the overall one.
    """

    label: int
    probability: float
    own: float
    threshold: float
    given: bool
    carried: bool

    @property
    def only_likeliest(self) -> bool:
        return self.given and self.probability < self.threshold


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """copies: test images that show the same, whose mean the bars are. alone: labels without."""

    folder: str
    bars: Sequence[Bar]
    copies: Sequence[Picture]
    alone: Labels


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was submitted. gain: expected of macro F1, None where nothing was weighed."""

    final: Labels
    without: Labels
    origin: str
    match_id: str
    final_decision: str
    gain: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What truth.csv says of the row. relation: "" where it says none."""

    labels: Labels
    relation: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A part that the run has not made yet is None, and stands in `missing`: what -> its command.

    large: the image in the colours of its channels; channels: each by itself. rests_on: what each
    relation's claims rest on; plots: where this row stands among them. maps: where the classifier
    looked, empty where that was not made.
    """

    id: str
    atlas: str
    label_names: Sequence[str]
    large: Picture
    channels: Sequence[Picture]
    neighbours: Sequence[Neighbour]
    examined: bool
    claim: Claim | None
    rests_on: Sequence[Relation]
    plots: Sequence[Picture]
    classifier: Classifier | None
    maps: Sequence[Picture]
    decision: Decision | None
    truth: Truth | None
    missing: Mapping[str, str]
    notes: Sequence[str]


def picture_uri(rgb: Rgb) -> str:
    """H x W x 3, or H x W gray, of 0..1."""
    return webp_uri(to_bytes(rgb), quality=QUALITY)


def save_explanation(path: Path, page: Explanation) -> None:
    """HTML with its pictures inside; equal pages are equal bytes."""
    save_page(path, "explanation_page.html", page=page)
