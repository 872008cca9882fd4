"""How the index is searched and how its claims are measured. Standard library only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

HashKind = Literal["ahash", "dhash", "phash", "whash"]
HashChoice = Literal[HashKind, "rule_2018", "none"]
# Bits of 64 by which the teams of 2018 let a test image differ from its copy; yellow was not used.
RULE_2018_BITS = {"red": 14, "green": 12, "blue": 10}


@dataclass(frozen=True, kw_only=True)
class RegistrationSettings:
    """Finding the turn, scale and shift that lay one field over another.

    size_px: fields are compared at this size; noise and re-encoding average out by then.
    search_px: every turn, scale and shift is tried at this size.
    scales: sides of the window of the reference that the query may show, as shares of its side.
    strip_scales: the same, of windows that are narrower along one axis only.
    fine_px, coarse_px: standard deviations of the band-pass, at size_px.
    refined_places: how many of the best places are refined to sub-pixel affine registration.
    refined_from: a correlation at search_px from which refining is worth its time.
    least_overlap: share of the reference that a registered query must cover.
    blank_below: standard deviation of band-passed root counts below which a channel shows nothing.
    """

    size_px: int = 64
    search_px: int = 32
    scales: tuple[float, ...] = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
    strip_scales: tuple[float, ...] = (0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
    fine_px: float = 1.0
    coarse_px: float = 4.0
    refined_places: int = 2
    refined_from: float = 0.5
    least_overlap: float = 0.3
    blank_below: float = 0.01

    @property
    def window_shapes(self) -> tuple[tuple[float, float], ...]:
        """Height and width of every window that is tried, as shares of the reference's side."""
        strips = [shape for s in self.strip_scales for shape in ((s, 1.0), (1.0, s))]
        return (*((s, s) for s in self.scales), *strips)


@dataclass(frozen=True, kw_only=True)
class LeakSettings:
    """What is claimed, and on what measurements.

    neighbours: candidates of each query that are examined.
    hashes: perceptual hash that proposes candidates beside them, or "none"; "rule_2018" is phash
        with the limits of RULE_2018_BITS. hash_candidates: how many of each query.
    planted_copies, natural_queries: how many images of the atlas itself calibrate `same_image`.
        At the other values below and a recall of .9, .99 is shown by 13,300 of the latter where
        none is claimed, by 20,700 where one is.
    sibling_queries: how many held-out fields, and how many of new identities, calibrate `sibling`.
    copy_share, sibling_share: shares of the queries assumed to be copies (2.6 % of the test set of
        2018) and siblings, at which a precision is meant.
    copy_precision, sibling_precision: asked of the claims at the cut.
    copy_recall_kept: share of the planted copies among the candidates that the cut should keep.
    accept_unproven: labels are also transferred where the trials are too few, or too bad, to show
        the precision that is asked.
    """

    neighbours: int = 20
    hashes: HashChoice = "dhash"
    hash_candidates: int = 5
    planted_copies: int = 800
    natural_queries: int = 24_000
    sibling_queries: int = 5000
    copy_share: float = 0.026
    copy_precision: float = 0.99
    copy_recall_kept: float = 0.99
    sibling_share: float = 0.1
    sibling_precision: float = 0.95
    accept_unproven: bool = False
    seed: int = 0

    @property
    def hash_kind(self) -> HashKind | None:
        if self.hashes == "none":
            return None
        return "phash" if self.hashes == "rule_2018" else self.hashes


def problems(settings: LeakSettings) -> Iterator[str]:
    """What cannot work, one line each."""
    if settings.neighbours < 1:
        yield f"--neighbours {settings.neighbours}: at least one candidate has to be examined"
    if settings.hashes not in get_args(HashChoice):
        yield f"--hashes {settings.hashes}: not one of {', '.join(get_args(HashChoice))}"
    if settings.seed < 0:
        yield f"--seed {settings.seed}: a seed is not negative"
    for name in ("copy_share", "copy_precision", "sibling_share", "sibling_precision"):
        if not 0 < getattr(settings, name) < 1:
            flag = name.replace("_", "-")
            yield f"--{flag} {getattr(settings, name):g}: between 0 and 1, without the two"


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How an index is searched; see `index/search/approximate.py`.

    Args:
        recall: Share of the 10 nearest that has to be found, measured on images of the atlas; 1 is
            exact search, which below about a million images is quick enough.
        search_mib: What the search may take beside the vectors; no limit, unless given.
    """

    recall: float = 1.0
    search_mib: float | None = None
