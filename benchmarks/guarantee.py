"""Does a precision guarantee hold? Calibration and scoring are redrawn many times from one atlas.

Queries without a copy are the test images of a drawn atlas; copies are planted, at most one of each
image. Each redraw divides both at random into images for calibration and images for scoring, of
which 5% are copies. A guarantee holds if the claims on the scored images have the requested
precision. The oracle is the lowest threshold with this precision on the scored images themselves.

atlas draw-atlas --out D --identities 200 --test-fields-per-identity 6 \
  --novel-identities 1980 --copies 0
atlas build-index --data D --embedder frozen --out R/index
python benchmarks/guarantee.py --data D --index R/index --neighbours 10 --out R/guarantee
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from atlas.dataset.artifacts import SAME_IMAGE, save_table
from atlas.dataset.metrics import exact_interval
from atlas.workflows.embed.index import open_atlas_index
from atlas.workflows.leaks.search import LeakSearch, open_leak_search
from index.copies.calibration import calibrate_same_image
from index.copies.images import Images
from index.copies.registration import BLANK
from index.copies.trials import plant_copies, source_of
from index.settings import LeakSettings, RegistrationSettings

COPY_SHARE = 0.05
ASKED = (0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The queries of one kind.

    Attributes:
        best: The registration score of each query's best candidate.
        right: Whether that candidate is its source.
        candidates: The number of candidates of a query.
    """

    best: NDArray[np.float64]
    right: NDArray[np.bool_]
    candidates: int

    def some(self, places: NDArray[np.int64]) -> "Pool":
        return replace(self, best=self.best[places], right=self.right[places])


def main(
    data: Path,
    index: Path,
    out: Path,
    redraws: int = 200,
    copies: int = 1500,
    neighbours: int = LeakSettings().neighbours,
) -> None:
    """Measure once and redraw many times; write guarantee.csv with a row for each redraw."""
    others, planted = pools(data, index, copies, replace(LeakSettings(), neighbours=neighbours))
    print(f"{len(others.best)} queries without a copy, {len(planted.best)} planted copies")
    rows = [redraw(others, planted, asked, seed) for asked in ASKED for seed in range(redraws)]
    table = pd.DataFrame(rows)
    save_table(out / "guarantee.csv", table)
    show(table)


def pools(data: Path, index_folder: Path, copies: int, settings: LeakSettings) -> tuple[Pool, Pool]:
    """Return queries without a copy, and planted copies."""
    manifest, index = open_atlas_index(data, index_folder)
    work = index_folder.parent / "store"
    search = open_leak_search(manifest, index, work, settings, RegistrationSettings())
    truth = pd.read_csv(data / "truth.csv", dtype=str, keep_default_na=False)
    copied = set(truth.loc[truth["relation"] == SAME_IMAGE, "Id"])
    new_ids = [i for i in manifest.of("test").ids if i not in copied]
    planted = plant_copies(
        index.embeddings.ids, search.stored("sources"),
        channels=len(manifest.spec.channels), count=copies, seed=0,
    )  # fmt: skip
    return (
        _measured(search, new_ids, search.stored("test images"), [""] * len(new_ids)),
        _measured(search, planted.ids, planted.images, list(map(source_of, planted.ids))),
    )


def _measured(search: LeakSearch, ids: Sequence[str], images: Images, sources: list[str]) -> Pool:
    found = search.candidates(search.embedded(ids, images), images)
    scores_NK = search.registrations(found, images).scores_NK.astype(float)
    best = scores_NK.argmax(axis=1)
    rows = np.arange(len(ids))
    matched = found.reference_ids_NK[rows, best]
    return Pool(
        best=scores_NK[rows, best],
        right=matched == np.array(sources, object),
        candidates=scores_NK.shape[1],
    )


def redraw(others: Pool, planted: Pool, asked: float, seed: int) -> dict[str, object]:
    """Return one calibration and one scoring, with disjoint halves."""
    rng = np.random.default_rng(seed)
    trials, scored = np.array_split(rng.permutation(len(others.best)), 2)
    count = max(1, round(COPY_SHARE / (1 - COPY_SHARE) * len(scored)))
    lot = rng.permutation(len(planted.best))
    copies, plants = planted.some(lot[:count]), planted.some(lot[count:])
    settings = replace(LeakSettings(), copy_precision=asked, copy_share=COPY_SHARE, seed=seed)
    found = calibrate_same_image(
        np.where(plants.right, plants.best, BLANK), others.best[trials], settings,
        candidates=others.candidates,
    )  # fmt: skip
    every = replace(
        others,
        best=np.concatenate([copies.best, others.best[scored]]),
        right=np.concatenate([copies.right, np.zeros(len(scored), bool)]),
    )
    precision, recall = score(every, found.threshold, count)
    oracle = max(score(every, threshold, count)[1] for threshold in oracle_thresholds(every, asked))
    return {
        "asked": asked, "seed": seed, "threshold": found.threshold,
        "guaranteed": found.guarantee.reached,
        "shown": found.guarantee.shown, "precision": precision, "recall": recall,
        "oracle_recall": oracle, "kept": precision >= asked,
        "trials": len(trials), "scored": len(scored), "copies": count,
    }  # fmt: skip


def score(pool: Pool, threshold: float, copies: int) -> tuple[float, float]:
    """Return precision (1 without claims) and recall."""
    claimed = pool.best >= threshold
    right = int((claimed & pool.right).sum())
    return right / max(int(claimed.sum()), 1) if claimed.any() else 1.0, right / copies


def oracle_thresholds(pool: Pool, asked: float) -> NDArray[np.float64]:
    """Return every threshold that is precise enough, or the highest score if there is none."""
    order = np.argsort(-pool.best, kind="stable")
    precise = np.cumsum(pool.right[order]) >= asked * np.arange(1, len(order) + 1)
    return pool.best[order][precise] if precise.any() else pool.best[order][:1]


def show(table: pd.DataFrame) -> None:
    shown = Table("asked", "guaranteed", "kept", "95%", "recall / oracle's, mean", "least")
    for asked, rows in table.groupby("asked"):
        kept = int(rows["kept"].sum())
        low, high = exact_interval(kept, len(rows))
        ratio = rows["recall"] / rows["oracle_recall"]
        shown.add_row(
            f"{asked:g}", f"{int(rows['guaranteed'].sum())} of {len(rows)}",
            f"{kept} of {len(rows)}", f"{low:.3f} to {high:.3f}",
            f"{ratio.mean():.3f}", f"{ratio.min():.3f}",
        )  # fmt: skip
    Console().print(shown)


if __name__ == "__main__":
    tyro.cli(main)
