"""The page that explains a row of a submission. It needs no other file."""

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
    """A picture with its caption.

    Attributes:
        said: The caption.
        uri: The picture, from `picture_uri`.
        outlines: Outlines on the picture as an SVG path of side 1, or "".
        moved: The transform of the outlines, or "".
    """

    said: str
    uri: str
    outlines: str = ""
    moved: str = ""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A labelled image near the image of the row.

    Attributes:
        id: The id of the neighbour.
        uri: The picture.
        similarity: The similarity of the embeddings.
        registration_score: The registration score.
        relation: The claimed relation, or "".
        confidence: The confidence of the claim, or None if there is no claim.
        labels: The label numbers.
        identity: The identity, or "".
        votes: Whether its labels vote.
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
    """The share of the votes for a set of labels, and the number of matches that have it."""

    labels: Labels
    share: float
    matches: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The best match.

    Attributes:
        match_id: The id of the match.
        relation: The relation.
        similarity: The similarity of the embeddings.
        registration_score: The registration score.
        confidence: The confidence of the claim.
        decision: "transfer" or "abstain".
        reason: The reason for the decision.
        votes: The votes of all matches.
        pair: Pictures of the image and its match; for copies also of their registration.
        geometry: What was done to the image, and how many blocks agree, as a sentence; "" for
            siblings.
    """

    match_id: str
    relation: str
    similarity: float
    registration_score: float
    confidence: float
    decision: str
    reason: str
    votes: Sequence[Vote]
    pair: Sequence[Picture]
    geometry: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """The probability of a label.

    Attributes:
        label: The number of the label.
        probability: The probability.
        threshold: The threshold of the label.
        given: Whether the classifier gives the label.
        carried: Whether a held-out image has the label. Otherwise the overall threshold is used.
    """

    label: int
    probability: float
    threshold: float
    given: bool
    carried: bool

    @property
    def only_likeliest(self) -> bool:
        """Whether the label is given only because it is the most likely one."""
        return self.given and self.probability < self.threshold


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """The answer of the classifier.

    Attributes:
        folder: The folder of the classifier.
        bars: The labels with their probabilities.
    """

    folder: str
    bars: Sequence[Bar]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The submitted labels.

    Attributes:
        final: The submitted labels.
        without: The labels without a transfer.
        origin: The origin of the submitted labels.
        match_id: The id of the match, or "".
        final_decision: The final decision, or "".
        gain: The expected gain in macro F1, or None if it was not computed.
        reason: The reason for the decision.
    """

    final: Labels
    without: Labels
    origin: str
    match_id: str
    final_decision: str
    gain: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The row of the image in truth.csv. The relation is "" if the table has none."""

    labels: Labels
    relation: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A page that explains a row.

    Parts that the run does not have yet are None. `missing` names them with their commands.

    Attributes:
        id: The id of the image.
        atlas: The name of the atlas.
        label_names: The names of the labels.
        large: The image in the colours of its channels.
        channels: Each channel of the image.
        neighbours: The nearest labelled images.
        examined: Whether copies and siblings were looked for.
        claim: The best match.
        rests_on: What the claims of each relation are based on.
        plots: Plots that show where this image lies among all others.
        classifier: The answer of the classifier.
        maps: Class activation maps, which may be empty.
        decision: The submitted labels.
        truth: The true labels.
        missing: The command for each missing part.
        notes: Further notes.
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
    """Return H x W x 3, or H x W for gray, from 0 to 1 as the address of a picture."""
    return webp_uri(to_bytes(rgb), quality=QUALITY)


def save_explanation(path: Path, page: Explanation) -> None:
    """Write the page as HTML. Equal pages are equal bytes."""
    save_page(path, "explanation_page.html", page=page)
