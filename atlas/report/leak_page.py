"""The page of a leak run: counts, thresholds, plots, and every claim with its pictures.

The page holds small gray pictures of a query, its match and their difference, and colours them
itself. People give verdicts on the claims in it, which the browser keeps until they are exported.

Axes: C channels, H rows, W columns, S sides of a square.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from numpy.typing import NDArray

from atlas.dataset.artifacts import SAME_IMAGE
from atlas.dataset.verdicts import Judgement, Pair, Verdicts, sorted_pair
from atlas.report.agreeing_blocks import AgreeingBlocks
from atlas.report.pages import save_page
from atlas.report.pictures import colour_of, data_uri, stretched, to_bytes, webp_uri

# Sides are multiples of 16, the blocks of WebP, so that neighbouring tiles do not blend.
TILE_SIDES_PX = (96, 80, 64, 48, 32)
PAGE_BYTES = 40e6
MOST_CLAIMS = 10_000  # a page of more claims is too large for browsers
BYTES_PER_PIXEL = 0.19  # in base64 at QUALITY; fluorescence images need 0.12 to 0.22
# The picture of the difference, the agreeing blocks and the geometry in words.
OTHER_BYTES = 1200 + 450
QUALITY = 40
WHITE_DIFFERENCE = 2.0  # standard deviations
NOT_CLAIMED = "After the verdicts of people, this pair is not claimed."
# They are one script, in this order.
SCRIPTS = (
    "leak_page.js",
    "leak_page_pictures.js",
    "leak_page_verdicts.js",
    "leak_page_print.js",
    "leak_page_address.js",
)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """The claims of one relation.

    Attributes:
        name: The name of the relation.
        claims: The number of claims.
        transfers: The number of claims whose labels are transferred.
        threshold: The threshold, or None if nothing can be claimed.
        said: Sentences that say what the claims are based on.
    """

    name: str
    claims: int
    transfers: int
    threshold: float | None
    said: tuple[str, ...]

    @property
    def shown_threshold(self) -> str:
        """The threshold as text, with one decimal for registration scores; "none" for None."""
        if self.threshold is None:
            return "none"
        return f"{self.threshold:.1f}" if self.name == SAME_IMAGE else f"{self.threshold:.3f}"


@dataclass(frozen=True, kw_only=True)
class PlantedEdit:
    """How the planted copies with one edit were found.

    Attributes:
        edit: The name of the edit.
        proposed: The share whose source was a candidate.
        found: The share that reached the threshold.
    """

    edit: str
    proposed: float
    found: float


@dataclass(frozen=True, kw_only=True)
class GivenVerdict:
    """The latest verdict of a reviewer on a claim, see `Verdict`."""

    reviewer: str
    verdict: Judgement
    time: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A test image and its best match.

    Attributes:
        id: The id of the test image.
        match_id: The id of the match.
        query_key, match_key: The keys of the two images, which verdicts name; see `image_keys.py`.
        relation: The relation.
        similarity: The similarity of the embeddings.
        registration_score: The registration score.
        confidence: The confidence of the claim.
        labels: The label numbers of the match.
        decision: "transfer" or "abstain".
        reason: The reason for the decision.
        sheet: The pictures of the query and its match, see `sheet_uri`.
        difference: The picture of their difference, see `difference_uri`.
        laid_23: The affine map from the query to the match, both of side 1, row by row.
        geometry: What was done to the query, and how many blocks agree, as a sentence; "" for
            siblings.
        blocks: The agreeing blocks, or None if there are none, and for siblings.
        verdicts: What each reviewer has said about the pair.
    """

    id: str
    match_id: str
    query_key: str
    match_key: str
    relation: str
    similarity: float
    registration_score: float
    confidence: float
    labels: tuple[int, ...]
    decision: str
    reason: str
    sheet: str
    difference: str
    laid_23: tuple[float, ...]
    geometry: str
    blocks: AgreeingBlocks | None
    verdicts: tuple[GivenVerdict, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What a submission says about a test image.

    Attributes:
        match_id: The id of the match that is claimed now, or "".
        decision: "transfer" if the submission has the labels of the match, "abstain", or "".
        reason: The reason for the decision.
        confidence: The confidence of the claim.
        before: The labels without the transfer.
    """

    match_id: str
    decision: str
    reason: str
    confidence: float
    before: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ClaimCount:
    """How many claims of a relation a submission is made from.

    Attributes:
        claims: The number of claims.
        transfers: The number of claims whose labels are transferred.
    """

    claims: int
    transfers: int


@dataclass(frozen=True, kw_only=True)
class LeakPage:
    """A page of a leak run.

    Attributes:
        title: The title.
        test_images: The number of test images.
        relations: The relations.
        planted: The planted copies by edit, the least found first.
        plots: PNG files by caption.
        channels: The names of the channels.
        labels: The names of the labels.
        tile_px: The side of the pictures.
        claims: The claims in order.
        left_out: The number of claims that the page does not list.
    """

    title: str
    test_images: int
    relations: Sequence[Relation]
    planted: Sequence[PlantedEdit]
    plots: dict[str, Path]
    channels: Sequence[str]
    labels: Sequence[str]
    tile_px: int
    claims: Sequence[Claim]
    left_out: int = 0


def save_leak_page(path: Path, page: LeakPage) -> None:
    """Write the page as HTML. Its own script sorts, filters and judges claims, without a network.

    Claims are listed in the given order, which is kept among equal values when they are sorted. The
    page has no labels before the transfer, see `with_submission`.
    """
    save_page(
        path,
        "leak_page.html",
        scripts=SCRIPTS,
        page=page,
        transfers=sum(relation.transfers for relation in page.relations),
        plots={said: data_uri("image/png", file.read_bytes()) for said, file in page.plots.items()},
        data={
            "channels": [{"name": name, "colour": _css(name)} for name in page.channels],
            "labels": list(page.labels),
            "tile": page.tile_px,
            "submitted": False,
            "rows": [asdict(claim) for claim in page.claims],
        },
    )


def with_submission(
    page: str,
    submitted: Mapping[str, Submitted],
    given: Mapping[Pair, Sequence[GivenVerdict]],
    counts: Mapping[str, ClaimCount],
) -> str:
    """Return a page of `save_leak_page` with what has become known since it was written.

    Args:
        page: The page.
        submitted: The row of each test image in the submission, by id.
        given: The verdicts, see `given_verdicts`.
        counts: The claims of each relation after these verdicts.
    """
    shown = _shown_counts(counts)

    def filled(found: re.Match[str]) -> str:
        data = json.loads(found[2])
        for row in data["rows"]:
            keys = sorted_pair(row["query_key"], row["match_key"])
            row["verdicts"] = [asdict(one) for one in given.get(keys, ())]
            row.update(_as_submitted(row, submitted[row["id"]]))
        data["submitted"] = True
        return f"{found[1]}{htmlsafe_json_dumps(data, sort_keys=True)}{found[3]}"

    page = re.sub(r'(<script [^>]*id="data">)(.*?)(</script>)', filled, page, flags=re.DOTALL)
    return re.sub(
        r'(data-count="([^"]*)">)\d+', lambda found: f"{found[1]}{shown.get(found[2], 0)}", page
    )


def _shown_counts(counts: Mapping[str, ClaimCount]) -> dict[str, int]:
    """Return the numbers of a page by the attribute data-count of their elements."""
    whole = ClaimCount(
        claims=sum(one.claims for one in counts.values()),
        transfers=sum(one.transfers for one in counts.values()),
    )
    shown = {}
    for relation, one in {"": whole, **counts}.items():
        shown[f"{relation} claims".strip()] = one.claims
        shown[f"{relation} transferred".strip()] = one.transfers
        shown[f"{relation} not transferred".strip()] = one.claims - one.transfers
    return shown


def _as_submitted(row: Mapping[str, object], submitted: Submitted) -> dict[str, object]:
    """Return what a submission changes in the row of a claim."""
    if submitted.match_id != row["match_id"]:
        return {"before": submitted.before, "decision": "abstain", "reason": NOT_CLAIMED}
    return {
        "before": submitted.before,
        "decision": submitted.decision,
        "reason": submitted.reason,
        "confidence": submitted.confidence,
    }


def given_verdicts(verdicts: Verdicts) -> dict[Pair, tuple[GivenVerdict, ...]]:
    """Return the latest verdict of each reviewer on each pair of keys, sorted within the pair.

    A verdict that was taken back counts, because it may be later than one in a browser.
    """
    given: dict[Pair, tuple[GivenVerdict, ...]] = {}
    for (pair, reviewer), one in verdicts.latest_verdicts.items():
        said = GivenVerdict(reviewer=reviewer, verdict=one.verdict, time=one.time)
        given[pair] = (*given.get(pair, ()), said)
    return given


def _css(channel: str) -> str:
    return "rgb({:.0%} {:.0%} {:.0%})".format(*colour_of(channel))


def tile_side_px(claims: int, channels: int) -> int:
    """Return the side of the largest tiles with which the pictures stay below PAGE_BYTES."""
    for side in TILE_SIDES_PX:
        if claims * (2 * channels * side**2 * BYTES_PER_PIXEL + OTHER_BYTES) <= PAGE_BYTES:
            return side
    return TILE_SIDES_PX[-1]


def sheet_uri(query: NDArray[np.uint8], match: NDArray[np.uint8], side_px: int) -> str:
    """Return all channels of two images C x H x W in gray: the query above its match.

    The channels are side by side, and each one is stretched as in `to_rgb`.
    """
    above_below = [np.hstack(list(_tiles(field, side_px))) for field in (query, match)]
    return webp_uri(np.vstack(above_below), quality=QUALITY)


def difference_uri(difference_SS: NDArray[np.float32]) -> str:
    """Return a difference as a picture.

    Equal pixels are black, differences of at least WHITE_DIFFERENCE are white, and NaN is
    transparent.
    """
    clear = np.isnan(difference_SS)
    gray = to_bytes(np.where(clear, 0, difference_SS / WHITE_DIFFERENCE))
    opacity = np.where(clear, 0, 255).astype(np.uint8)
    return webp_uri(np.dstack([gray, gray, gray, opacity]), quality=QUALITY)


def _tiles(field: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    how = cv2.INTER_AREA if field.shape[1] > side_px else cv2.INTER_CUBIC
    planes = [cv2.resize(plane, (side_px, side_px), interpolation=how) for plane in field]
    return to_bytes(stretched(np.stack(planes)))
