"""How many candidate pairs per second are compared, on one core and on all.

Pairs are labelled images with random other images, because most candidates are not copies.
`proposing` is the first step of every pair: its sketches propose alignments. `examining` is all
that `find-leaks` does with candidates, from the stored images on: sketches, alignments, and the
pixels of the pairs that can be aligned. In a large atlas, keypoints vote for few of the candidates
that the embedder and hashes propose, so their keypoints are matched for some of the pairs only;
`every pair matched` is what a small atlas takes. Beside the rates are the operations per pair that
can be counted, as a share of what a float32 matrix product reaches on the same core.

atlas draw-atlas --out D --identities 200 --size-px 128 --copies 0
python -m benchmarks.verification_speed --data D --size-px 128 --out R
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from benchmarks.side_by_side import (
    ROUNDS,
    Comparison,
    about_machine,
    compare,
    markdown,
    measurements,
    own_process,
    plot,
    rate_of,
    save_report,
)
from index.copies.candidates import Candidates
from index.copies.false_alarms import ASSUMED_LAW
from index.copies.images import Images
from index.copies.keypoints import KEYPOINTS, ORDERS_GD, VALUES
from index.copies.sketches import BLOCKS, SMALL_BLOCK_PX, Sketches, sketch
from index.copies.verification import examine
from index.copies.voting import PAIRS, Alignment, propose
from index.settings import LeakSettings, Look, RegistrationSettings

CANDIDATES = LeakSettings().candidates
VOTED = LeakSettings().keypoint_candidates  # those that the keypoints of a query propose
FLIPS_AND_ROTATIONS = 8
# OpenCV's Gaussian of a float picture reaches to four standard deviations.
DEVIATIONS = 4
WARPED = 7  # operations of a bilinear sample
PRODUCT_SIDE, PRODUCTS = 1024, 10
PACKAGES = ("opencv-python-headless", "numpy")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a pair costs.

    Attributes:
        channels: The number of channels.
        matched: The share of the pairs whose keypoints are matched.
        aligned: The share of the pairs that can be aligned.
        alignments: The number of alignments of a pair, on average.
        peak: Float32 operations per second of one core in a matrix product.
    """

    channels: int
    matched: float
    aligned: float
    alignments: float
    peak: float

    @property
    def proposing(self) -> float:
        """Operations of the alignments of a pair on average."""
        return operations_of_proposing(self.matched)

    @property
    def comparing(self) -> float:
        """Operations of comparing pixels, for a pair on average; refinement is not counted."""
        looks = RegistrationSettings().looks
        return self.alignments * sum(operations_of_look(look, self.channels) for look in looks)


def main(
    data: Path,
    out: Path,
    pairs: int = 10_000,
    size_px: int = 128,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> None:
    """Measure pairs per second; the store is filled below `out` beforehand."""
    cores = os.cpu_count() or 1
    asked, all_matched = (data, out, pairs, size_px, seed), (data, out, pairs, size_px, seed, True)
    with own_process(cores=1) as on_one, own_process() as on_all:
        ways = {
            "proposing, one core": partial(on_one, proposing_rate, *asked),
            "proposing, every pair matched, one core": partial(
                on_one, proposing_rate, *all_matched
            ),
            "examining, one core": partial(on_one, examining_rate, *asked),
            f"examining, {cores} cores": partial(on_all, examining_rate, *asked),
        }
        title = f"Comparing images of {size_px} px, {pairs} pairs"
        made = compare(title, ways, unit="pairs/s", rounds=rounds)
        limit = on_one(limit_of, *asked)
    about = f"{about_machine(PACKAGES)} Medians, and least and most, of rounds in alternation."
    parts = [about, markdown(made), limit_in_words(limit, made)]
    save_report(out, "verification_speed", measurements([made]), parts, plot([made]))


def proposing_rate(
    data: Path, out: Path, pairs: int, size_px: int, seed: int, all_matched: bool = False
) -> float:
    """Return the pairs per second of alignments, without making the sketches."""
    drawn, images = drawn_pairs(data, out, pairs, size_px, seed, all_matched)
    sketched = Sketched.of(drawn, images)
    return rate_of(drawn.reference_ids_NK.size, lambda: sketched.proposed())


def examining_rate(data: Path, out: Path, pairs: int, size_px: int, seed: int) -> float:
    """Return the pairs per second of the whole comparison, sketches included."""
    drawn, images = drawn_pairs(data, out, pairs, size_px, seed)
    (first,) = images.read(drawn.query_ids[:1])
    with tempfile.TemporaryDirectory() as folder:
        work = partial(
            examine, drawn, images, images, RegistrationSettings(), ASSUMED_LAW,
            channels=len(first), folder=Path(folder),
        )  # fmt: skip
        return rate_of(drawn.reference_ids_NK.size, work)


def limit_of(data: Path, out: Path, pairs: int, size_px: int, seed: int) -> Limit:
    """Return what a pair costs on average, and what this core can do."""
    drawn, images = drawn_pairs(data, out, pairs, size_px, seed)
    (first,) = images.read(drawn.query_ids[:1])
    counts = [len(some) for row in Sketched.of(drawn, images).proposed() for some in row]
    return Limit(
        channels=len(first),
        matched=float(np.mean(drawn.matched_NK)),
        aligned=float(np.mean(np.array(counts) > 0)),
        alignments=float(np.mean(counts)),
        peak=product_rate(),
    )


@dataclass(frozen=True, kw_only=True)
class Sketched:
    """The sketches of pairs: each query with its candidates, and whose keypoints are matched."""

    queries: tuple[Sketches, ...]
    references: tuple[Sketches, ...]
    matched: tuple[NDArray[np.bool_], ...]

    @staticmethod
    def of(drawn: Candidates, images: Images) -> "Sketched":
        ids = sorted({*drawn.query_ids, *drawn.reference_ids_NK.ravel()})
        rows = Sketches(bytes_NB=np.stack(images.made_of(ids, sketch, name="sketching")))
        place = {image_id: n for n, image_id in enumerate(ids)}
        return Sketched(
            queries=tuple(rows.only([place[i]]) for i in drawn.query_ids),
            references=tuple(rows.only([place[i] for i in row]) for row in drawn.reference_ids_NK),
            matched=tuple(drawn.matched_NK),
        )

    def proposed(self) -> Sequence[list[list[Alignment]]]:
        pairs = zip(self.queries, self.references, self.matched, strict=True)
        return [propose(*pair) for pair in pairs]


def drawn_pairs(
    data: Path, out: Path, pairs: int, size_px: int, seed: int, all_matched: bool = False
) -> tuple[Candidates, Images]:
    """Return random pairs of the labelled images of an atlas, and its images."""
    manifest = read_manifest(data).labelled
    store = fill_store(manifest, out / "store", size_px=size_px)
    images = Images(what="pairs", source=store)
    return random_pairs(manifest.ids, pairs, seed, all_matched=all_matched), images


def random_pairs(
    ids: tuple[str, ...], pairs: int, seed: int, *, all_matched: bool = False
) -> Candidates:
    """Return enough queries for this many pairs; each query occurs once."""
    queries = min(-(-pairs // CANDIDATES), len(ids))
    depth = -(-pairs // queries)
    rng = np.random.default_rng(seed)
    others = [rng.choice(len(ids) - 1, depth, replace=False) for _ in range(queries)]
    places_NK = np.array([np.where(row >= n, row + 1, row) for n, row in enumerate(others)])
    return Candidates(
        query_ids=ids[:queries],
        reference_ids_NK=np.array(ids, dtype=object)[places_NK],
        similarity_NK=np.zeros(places_NK.shape, np.float32),
        matched_NK=np.broadcast_to(all_matched | (np.arange(depth) < VOTED), places_NK.shape),
    )


def operations_of_proposing(matched: float) -> float:
    """Return the operations of the matrix products that align a pair on average.

    Args:
        matched: The share of the pairs whose keypoints are matched.
    """
    keypoints = KEYPOINTS**2 * VALUES
    voting = len(ORDERS_GD) * PAIRS * VALUES
    blocks = FLIPS_AND_ROTATIONS * BLOCKS * SMALL_BLOCK_PX**2
    return 2.0 * (matched * (keypoints + voting) + blocks)


def operations_of_look(look: Look, channels: int) -> float:
    """Return the operations of comparing an aligned pair at one size.

    One picture is warped, both are band-passed by two separable Gaussians, and the blocks of all
    channels are multiplied with one another.
    """
    taps = [1 + 2 * round(DEVIATIONS * deviation) for deviation in (look.fine_px, look.coarse_px)]
    filters = 2 * sum(2 * 2 * count for count in taps)
    return float(look.size_px**2 * channels * (WARPED + filters + 2 * channels))


def product_rate() -> float:
    """Return the float32 operations per second of a matrix product."""
    one: NDArray[np.float32] = np.ones((PRODUCT_SIDE, PRODUCT_SIDE), np.float32)
    np.matmul(one, one)  # starts the threads

    def products() -> None:
        for _ in range(PRODUCTS):
            np.matmul(one, one)

    return rate_of(2.0 * PRODUCTS * PRODUCT_SIDE**3, products)


def limit_in_words(limit: Limit, made: Comparison) -> str:
    """Return a table of the operations of a pair on one core, beside the peak of the core."""
    proposing, _, examining = (float(np.median(rates_R)) for rates_R in made.rates_WR[:3])
    both = limit.proposing + limit.comparing
    lines = [
        "## Operations on one core\n",
        f"Keypoints are matched for {limit.matched:.0%} of the pairs. "
        f"{limit.aligned:.1%} of the pairs can be aligned, with {limit.alignments:.3f} alignments "
        f"for a pair on average. A matrix product reaches {limit.peak / 1e9:,.0f} GFLOP/s.\n",
        "| step | million operations per pair | GFLOP/s | share of the peak | "
        "pairs/s at the peak |",
        "|---|---:|---:|---:|---:|",
    ]
    for step, operations, rate in (
        ("proposing", limit.proposing, proposing),
        ("examining", both, examining),
    ):
        reached = operations * rate
        lines.append(
            f"| {step} | {operations / 1e6:.1f} | {reached / 1e9:.1f} | "
            f"{reached / limit.peak:.0%} | {limit.peak / operations:,.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
