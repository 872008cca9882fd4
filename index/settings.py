"""How the index is searched and how its claims are measured. Standard library only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from atlas.core.errors import UserError, refuse

HashKind = Literal["ahash", "dhash", "phash", "whash"]
HashChoice = Literal[HashKind, "rule_2018", "none"]
# Bits of 64 by which the teams of 2018 let a test image differ from its copy; yellow was not used.
RULE_2018_BITS = {"red": 14, "green": 12, "blue": 10}
PROBABLE = 0.5  # probability from which a pair below the threshold is called a likely copy


@dataclass(frozen=True, kw_only=True)
class RegistrationSettings:
    """Finding the rotation, scale and shift that lay one field over another.

    size_px: fields are compared at this size; noise and re-encoding average out by then.
    search_px: every rotation, scale and shift is tried at this size.
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
class CopySettings:
    """What is claimed to be a copy, and on what measurements.

    Args:
        neighbours: Candidates that are examined for each query.
        hashes: Perceptual hash that proposes candidates too, in all flips and rotations; rule_2018
            is phash within 14, 12 and 10 bits in red, green and blue.
        hash_candidates: Candidates of each query that the hash proposes at most.
        planted_copies: Edited copies of labelled images that are planted and looked for.
        natural_queries: Labelled images that are examined as queries without a copy; the more, the
            higher the precision that can be guaranteed. At the other defaults and a recall of 0.9,
            0.99 is shown by 13,300 where none is claimed, by 20,700 where one is.
        copy_share: Share of the queries expected to be copies, at which precision is meant (2.6%
            of the test set of 2018).
        copy_precision: Precision that same_image claims should have.
        copy_recall_kept: Share of the planted copies among the candidates that the threshold
            should keep.
        seed: Which images are planted and examined for the calibration.
    """

    neighbours: int = 20
    hashes: HashChoice = "dhash"
    hash_candidates: int = 5
    planted_copies: int = 800
    natural_queries: int = 24_000
    copy_share: float = 0.026
    copy_precision: float = 0.99
    copy_recall_kept: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(_problems(self))

    @property
    def hash_kind(self) -> HashKind | None:
        if self.hashes == "none":
            return None
        return "phash" if self.hashes == "rule_2018" else self.hashes


@dataclass(frozen=True, kw_only=True)
class LeakSettings(CopySettings):
    """What is claimed to be a copy or a sibling, and when labels are transferred.

    Args:
        sibling_queries: Held-out fields, and as many of new identities, that calibrate siblings.
        sibling_share: Share of the queries expected to be siblings.
        sibling_precision: Precision that sibling claims should have.
        accept_unproven_copies: Transfer the labels of copies also where the precision asked for is
            not guaranteed.
        accept_unproven_siblings: The same for siblings.
    """

    sibling_queries: int = 5000
    sibling_share: float = 0.1
    sibling_precision: float = 0.95
    accept_unproven_copies: bool = False
    accept_unproven_siblings: bool = False


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

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise UserError(f"--recall {self.recall}: a share above 0, and 1 for exact search")


@dataclass(frozen=True, kw_only=True)
class LeakColumns:
    """How leak tables name their columns: of several names the first that a table has counts.

    The defaults are the names of the tables of 2018 and of a merged.csv.

    Args:
        id_column: The test image; "" is a column without a name.
        label_column: Its labels.
        match_column: The labelled image that it is a copy of, where the table names it.
        doubt_column: 1 where the author of the table doubts the row.
        distance_column: Distances to the match; all that a table has are read.
    """

    id_column: tuple[str, ...] = ("Id", "Test", "")
    label_column: tuple[str, ...] = ("Target", "Site Parsed Labels", "labels")
    match_column: tuple[str, ...] = ("Extra", "Candidate", "match_id")
    doubt_column: tuple[str, ...] = ("Questionable",)
    distance_column: tuple[str, ...] = ("SimR", "SimG", "SimB", "Hash diff")


def _problems(settings: CopySettings) -> Iterator[str]:
    """Yield what cannot work, one line each."""
    if settings.neighbours < 1:
        yield f"--neighbours {settings.neighbours}: at least one candidate has to be examined"
    if settings.hashes not in get_args(HashChoice):
        yield f"--hashes {settings.hashes}: not one of {', '.join(get_args(HashChoice))}"
    if settings.seed < 0:
        yield f"--seed {settings.seed}: a seed is not negative"
    for name, value in vars(settings).items():
        if name.endswith(("_share", "_precision")) and not 0 < value < 1:
            yield f"--{name.replace('_', '-')} {value:g}: between 0 and 1, without the two"
