"""Settings of the search of an index, and of the claims made from it. Standard library only."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, get_args

from atlas.core.errors import refuse
from index.store_address import parse_address

HashKind = Literal["ahash", "dhash", "phash", "whash", "phash256"]
HashChoice = Literal["auto", HashKind, "rule_2018", "none"]
StoreKind = Literal["flat", "hnsw", "ivf"]
Keep = Literal["first", "most-labels", "highest-resolution", "sharpest", "newest"]
# The bits of 64 by which the teams of 2018 let copies differ in each channel; yellow was not used.
RULE_2018_BITS = {"red": 14, "green": 12, "blue": 10}
PROBABLE = 0.5  # a pair below the threshold with at least this probability is a probable copy
# Only what a person has accepted, and equal pixels, have this confidence: an estimate is never
# surer than n / (n + 1).
CERTAIN = 1.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """How two images are compared at one size.

    Args:
        size_px: The side at which they are compared.
        block_px: The side of the blocks that agree or do not.
        fine_px: The smaller standard deviation of the band-pass.
        coarse_px: The larger standard deviation of the band-pass.
    """

    size_px: int
    block_px: int
    fine_px: float
    coarse_px: float


@dataclass(frozen=True, kw_only=True)
class RegistrationSettings:
    """Settings of the comparison of two images by their pixels.

    Args:
        looks: The sizes at which images are compared, the largest first. A large size shows what is
            left of a small crop, and noise and compression average out at a small one.
        dimmest: Counts (of 255) that are added before the square root, so that noise in dark places
            counts little.
        finest_px: The largest side at which small parts of images are compared.
    """

    looks: tuple[Look, ...] = (
        Look(size_px=128, block_px=8, fine_px=1.0, coarse_px=4.0),
        Look(size_px=64, block_px=6, fine_px=1.2, coarse_px=4.0),
    )
    dimmest: float = 16.0
    finest_px: int = 256

    @property
    def size_px(self) -> int:
        """Return the largest side at which images are compared."""
        return self.looks[0].size_px


@dataclass(frozen=True, kw_only=True)
class CopySettings:
    """Settings of the claims that an image is a copy.

    Args:
        neighbours: Number of nearest neighbours that are examined as candidates of each query.
        hashes: Perceptual hash that proposes further candidates, in all flips and rotations. auto
            takes dhash or phash256, whichever finds more planted copies of the atlas's own images.
            phash256 has 256 bits, the others have 64. rule_2018 is phash within 14, 12 and 10 bits
            in red, green and blue.
        hash_candidates: Largest number of candidates per query that the hash proposes.
        keypoint_candidates: Largest number of candidates per query that its keypoints propose; 0
            for none. Crops, collages and pictures that are covered in part are found by these.
        further_indexes: Folders of further indexes of the same images, whose embedders propose
            candidates, too, as many as that of the index.
        planted_copies: Number of edited copies of labelled images that are planted and searched
            for, to measure recall.
        natural_queries: Number of labelled images that are examined as queries without a copy, to
            measure false claims. More of them can guarantee a higher precision. Images of one
            identity count once, and two images that match each other count once, so if all images
            are queries, half of them are independent. With the other defaults and a recall of 0.9,
            a precision of 0.99 needs 13,300 independent queries if none is claimed, and 20,700 if
            one is.
        copy_share: Expected share of copies among the queries, to which precision refers (2.6% of
            the test set of 2018).
        copy_precision: Precision that claims of copies should have.
        copy_recall_kept: Share of the planted copies among the candidates that the threshold should
            keep.
        seed: Seed of the images that are chosen for the calibration.
    """

    neighbours: int = 10
    hashes: HashChoice = "auto"
    hash_candidates: int = 5
    keypoint_candidates: int = 10
    further_indexes: tuple[str, ...] = ()
    planted_copies: int = 800
    natural_queries: int = 48_000
    copy_share: float = 0.026
    copy_precision: float = 0.99
    copy_recall_kept: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(_problems(self))

    @property
    def hash_kind(self) -> HashKind | None:
        """Return the kind of hash, or None.

        Raises:
            ValueError: It has not been chosen yet; see `index/copies/hash_choice.py`.
        """
        if self.hashes == "auto":
            raise ValueError("the hash has not been chosen yet")
        if self.hashes == "none":
            return None
        return "phash" if self.hashes == "rule_2018" else self.hashes

    @property
    def candidates(self) -> int:
        """Return the largest number of candidates of a query."""
        embedders = 1 + len(self.further_indexes)
        return embedders * self.neighbours + self.hash_candidates + self.keypoint_candidates


@dataclass(frozen=True, kw_only=True)
class DuplicateSettings(CopySettings):
    """Settings of the claims of copies among labelled images, and of which of them stay.

    Args:
        natural_queries: Number of labelled images that are examined as queries without a copy, to
            measure false claims. 1,000 suffice for a threshold; more can guarantee a higher
            precision.
        keep: Which image of each group of copies is kept: the first one of the tables, that with
            the most labels, the highest resolution (width x height), the highest sharpness
            (variance of the Laplacian), or the newest file. Of equal ones, the first is kept.
            External images never replace train images, and no image replaces its Parent.
    """

    natural_queries: int = 1000
    keep: Keep = "first"

    @property
    def of_copies(self) -> "LeakSettings":
        """Return the settings of the claims alone."""
        return LeakSettings(**{f.name: getattr(self, f.name) for f in fields(CopySettings)})


@dataclass(frozen=True, kw_only=True)
class LeakSettings(CopySettings):
    """Settings of the claims that an image is a copy or a sibling, and of the transfer of labels.

    Args:
        sibling_queries: Number of held-out images, and of images of new identities, that calibrate
            siblings.
        sibling_share: Expected share of siblings among the queries.
        sibling_precision: Precision that claims of siblings should have.
        accept_unproven_copies: Transfer the labels of copies even if the requested precision is not
            guaranteed.
        accept_unproven_siblings: Transfer the labels of siblings even if the requested precision is
            not guaranteed.
        least_confidence: Labels of claims with a lower confidence are never transferred.
        reviewer_error: Largest share of wrong claims that a reviewer accepts by mistake, for which
            the certificate of a review allows.
    """

    sibling_queries: int = 5000
    sibling_share: float = 0.1
    sibling_precision: float = 0.95
    accept_unproven_copies: bool = False
    accept_unproven_siblings: bool = False
    least_confidence: float = 0.5
    reviewer_error: float = 0.02


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Settings of the search of an index; see `index/search/approximate.py`.

    Args:
        recall: Share of the 10 nearest images that the search has to find, measured on images of
            the atlas. 1 is exact search, which is fast enough below about a million images.
        search_mib: Memory in MiB that the search may use in addition to the vectors. By default
            there is no limit.
        store: Where vectors are searched beyond one process: milvus://HOST:PORT/COLLECTION, or a
            path that ends in .db for Milvus Lite. By default they are searched in the process that
            needs them.
        store_kind: How the store is searched: flat compares all vectors and is exact; hnsw and ivf
            are faster among millions and miss a neighbour now and then.
    """

    recall: float = 1.0
    search_mib: float | None = None
    store: str | None = None
    store_kind: StoreKind = "flat"

    def __post_init__(self) -> None:
        refuse(_search_problems(self))
        if self.store is not None:
            parse_address(self.store)


@dataclass(frozen=True, kw_only=True)
class LeakColumns:
    """Names of the columns of leak tables. If there are several, the first one that exists is used.

    The defaults are the names in the tables of 2018 and in merged.csv.

    Args:
        id_column: Column of test images; "" is a column without a name.
        label_column: Column of their labels.
        match_column: Column of the labelled image that the test image is a copy of, if the table
            has one.
        doubt_column: Column that is 1 if the author of the table doubts the row.
        distance_column: Columns of distances to the match; all of them are read.
    """

    id_column: tuple[str, ...] = ("Id", "Test", "")
    label_column: tuple[str, ...] = ("Target", "Site Parsed Labels", "labels")
    match_column: tuple[str, ...] = ("Extra", "Candidate", "match_id")
    doubt_column: tuple[str, ...] = ("Questionable",)
    distance_column: tuple[str, ...] = ("SimR", "SimG", "SimB", "Hash diff")


def _search_problems(settings: SearchSettings) -> Iterator[str]:
    if not 0 < settings.recall <= 1:
        got = settings.recall
        yield f"--recall must be above 0 and at most 1, which is exact search (got {got})"
    if settings.store is None and settings.store_kind != "flat":
        yield "--store-kind needs a --store"
    if settings.store is not None and (settings.recall != 1 or settings.search_mib is not None):
        yield "--recall and --search-mib tune the search of one process; with --store, omit them"


def _problems(settings: CopySettings) -> Iterator[str]:
    """Yield a line for each setting that cannot work."""
    if settings.neighbours < 1:
        yield f"--neighbours must be at least 1 (got {settings.neighbours})"
    if settings.hashes not in get_args(HashChoice):
        choices = ", ".join(get_args(HashChoice))
        yield f"--hashes must be one of {choices} (got {settings.hashes})"
    if isinstance(settings, DuplicateSettings) and settings.keep not in get_args(Keep):
        yield f"--keep must be one of {', '.join(get_args(Keep))} (got {settings.keep})"
    if settings.seed < 0:
        yield f"--seed must not be negative (got {settings.seed})"
    for name, value in vars(settings).items():
        if name.endswith("_candidates") and value < 0:
            yield f"--{name.replace('_', '-')} must not be negative (got {value})"
        if name == "least_confidence" and not 0 <= value <= 1:
            yield f"--least-confidence must be from 0 to 1 (got {value:g})"
        if name == "reviewer_error" and not 0 <= value < 1:
            yield f"--reviewer-error must be at least 0 and below 1 (got {value:g})"
        if name.endswith(("_share", "_precision")) and not 0 < value < 1:
            yield f"--{name.replace('_', '-')} must be above 0 and below 1 (got {value:g})"
