"""Simulated reviews of claims whose truth is known: does the bound hold, and how soon is it enough?

`atlas find-leaks` runs on a drawn atlas, and its claims of copies that name the true source are
kept. Each review plants other wrong claims among them, so that a given share is right: the match of
a claim that was chosen at random is replaced by another labelled image. Then all claims are looked
at in the order in which the review page shows them. A simulated reviewer accepts every right claim,
and each wrong one with a given probability.

python -m benchmarks.reviews --out R
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from atlas.core.result_folder import folder_written_beside
from atlas.dataset.artifacts import SAME_IMAGE, save_table
from atlas.dataset.hpa import HPA_CHANNELS
from atlas.dataset.manifest import read_manifest
from atlas.dataset.metrics import exact_interval
from atlas.dataset.verdicts import Pair
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.embed.index import build_index
from atlas.workflows.leaks.finding import find_leaks
from benchmarks.untrained import untrained_embedder
from index.claims.review_certificate import least_right_by_look, random_order
from index.settings import LeakSettings
from retrieval.embedder import save_embedder

DRAWN = DrawnAtlasSettings(
    identities=300, fields_per_identity=2, test_fields_per_identity=1, novel_identities=100,
    copies=1000, seed=2028,
)  # fmt: skip
BACKBONE = "test_resnet"
REVIEWS = 200
PRECISIONS = (1.0, 0.99, 0.97, 0.9)
ERROR_RATES = (0.0, 0.02)
WANTED = (0.9, 0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class Review:
    """One simulated review.

    Attributes:
        kept: Whether the bound was never above the truth.
        looks: The number of looks after which each precision of WANTED was shown, or infinity.
    """

    kept: bool
    looks: tuple[float, ...]


def main(out: Path, reviews: int = REVIEWS) -> None:
    """Find the claims, unless `out` has them, review them, and print a table in Markdown.

    The last columns have the median number of looks until each precision of WANTED is shown.

    Args:
        out: Folder of the drawn atlas and its claims.
        reviews: Number of reviews for each precision and error rate.
    """
    claims, references = claims_of_run(out)
    right = claims[claims["match_id"] == claims["source"]]
    pairs = list(zip(right["Id"], right["match_id"], strict=True))
    print(f"{len(claims):,} claims of copies, {len(right):,} of them with the true source\n")
    shown = " | ".join(f"{wanted:g}" for wanted in WANTED)
    print(f"| right | accepts wrong claims | kept | {shown} |")
    print("|---:|---:|---|" + "---:|" * len(WANTED))
    for precision in PRECISIONS:
        for error_rate in ERROR_RATES:
            found = [
                review(pairs, references, precision, error_rate, np.random.default_rng(seed))
                for seed in range(reviews)
            ]
            print(" | ".join(["", f"{precision:g}", f"{error_rate:g}", *cells(found), ""]).strip())


def claims_of_run(out: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the claims of copies with their true sources, and the ids of labelled images."""
    data, run = out / "data", out / "runs"
    if not (out / "claims.csv").exists():
        draw_atlas(DRAWN, data, jobs=1)
        embedder = untrained_embedder(HPA_CHANNELS, DRAWN.size_px, backbone_name=BACKBONE, views=8)
        with folder_written_beside(out / "embedder", written_by="untrained") as beside:
            save_embedder(beside, embedder)
        build_index(data, out / "embedder", run / "index")
        share = DRAWN.copies / len(read_manifest(data).of("test").ids)
        leaks = find_leaks(data, run / "index", run / "leaks", LeakSettings(copy_share=share))
        claims = leaks.leaks.table
        truth = pd.read_csv(data / "truth.csv", dtype=str, keep_default_na=False)
        claims = claims[claims["relation"] == SAME_IMAGE][["Id", "match_id"]]
        save_table(out / "claims.csv", claims.merge(truth[["Id", "source"]], on="Id"))
    claims = pd.read_csv(out / "claims.csv", dtype=str, keep_default_na=False)
    return claims, list(read_manifest(data).labelled.ids)


def review(
    right: list[Pair],
    references: list[str],
    precision: float,
    error_rate: float,
    rng: np.random.Generator,
) -> Review:
    """Plant wrong claims, look at all claims, and compare each bound with the truth."""
    wrong = set(rng.choice(len(right), round((1 - precision) * len(right)), replace=False).tolist())
    is_right = {
        (query, other_than(match, references, rng) if n in wrong else match): n not in wrong
        for n, (query, match) in enumerate(right)
    }
    accepted = [
        is_right[pair] or rng.random() < error_rate for pair in random_order(list(is_right))
    ]
    bound_T = np.array(list(least_right_by_look(accepted, len(right), error_rate=error_rate)))
    return Review(
        kept=bool((bound_T <= sum(is_right.values())).all()), looks=tuple(looks_until(bound_T))
    )


def other_than(match: str, references: list[str], rng: np.random.Generator) -> str:
    return str(rng.choice([image_id for image_id in references if image_id != match]))


def looks_until(bound_T: np.ndarray) -> Iterator[float]:
    claims = len(bound_T) - 1
    for wanted in WANTED:
        reached = bound_T >= wanted * claims
        yield float(reached.argmax()) if reached.any() else np.inf


def cells(found: list[Review]) -> Iterator[str]:
    kept = sum(one.kept for one in found)
    low, high = exact_interval(kept, len(found))
    yield f"{kept} of {len(found)} ({low:.3f} to {high:.3f})"
    for number in range(len(WANTED)):
        middle = np.median([one.looks[number] for one in found])
        yield f"{middle:,.0f}" if np.isfinite(middle) else "never"


if __name__ == "__main__":
    tyro.cli(main)
