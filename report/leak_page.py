"""A leak run as one page: counts, cuts, plots, and every claim with its pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from report.html_page import data_uri, save_page
from report.pictures import colour_of


@dataclass(frozen=True, kw_only=True)
class Relation:
    """What is claimed of one relation. cut: None where nothing can be; said: what it rests on."""

    name: str
    claims: int
    transfers: int
    cut: float | None
    said: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A test image and its best match.

    evidence: None for siblings. labels: of the match, by number; before: what the image is
    labelled as without the transfer, None where that is not known.
    sheet, difference: data URIs by `leak_tiles`. laid_23: affine map from the query to the match,
    both of side 1, row by row.
    """

    id: str
    match_id: str
    relation: str
    similarity: float
    evidence: float | None
    confidence: float
    labels: tuple[int, ...]
    before: tuple[int, ...] | None
    decision: str
    reason: str
    sheet: str
    difference: str
    laid_23: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LeakPage:
    """plots: PNG files by what is said of them. labels: names. tile_px: side of the pictures."""

    title: str
    test_images: int
    relations: Sequence[Relation]
    plots: dict[str, Path]
    channels: Sequence[str]
    labels: Sequence[str]
    tile_px: int
    claims: Sequence[Claim]


def save_leak_page(path: Path, page: LeakPage) -> None:
    """HTML with all pictures inside; sorted and filtered by its own script, without a network.

    The claims are listed as they come; whatever they are sorted by later, ties keep this order.
    """
    save_page(
        path,
        "leak_page.html",
        page=page,
        transfers=sum(relation.transfers for relation in page.relations),
        plots={said: data_uri("image/png", file.read_bytes()) for said, file in page.plots.items()},
        data={
            "channels": [{"name": name, "colour": _css(name)} for name in page.channels],
            "labels": list(page.labels),
            "tile": page.tile_px,
            "rows": [asdict(claim) for claim in page.claims],
        },
    )


def _css(channel: str) -> str:
    return "rgb({:.0%} {:.0%} {:.0%})".format(*colour_of(channel))
