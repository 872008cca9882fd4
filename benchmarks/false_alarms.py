"""How often images that are no copies reach a registration score, beside what is expected.

Each run draws an atlas of another seed without any copy; its images have siblings, which are other
fields of the same antibody. The test images are searched for among the labelled ones, as
`find-leaks` does it. Of each run come the scores from which 1, 0.1 and 0.01 false alarms are
expected, in two ways, and the number of false alarms from there on:

- `law`: the law of non-matches alone, which is measured on 400 labelled images. A pair reaches a
  score with a probability of 10^-score, so of n pairs n 10^-score do. Alarms are pairs.
- `calibration`: what the thresholds of `find-leaks` rest on: the larger one of the law and the rate
  that the atlas's own nearest non-matches show. Alarms are queries, by their best candidate.

The counts of all runs are added. With R runs, an expectation of 0.01 for each is compared with
R / 100 false alarms, so it is tested only by 1,000 runs or so; with fewer runs it rests on the
form of the law.

python -m benchmarks.false_alarms --out R
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray
from scipy.stats import chi2

from atlas.core.files import written_beside
from atlas.dataset.artifacts import Neighbours, save_table
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.embed.index import build_index, open_atlas_index
from atlas.workflows.leaks.calibration import measure_same_image
from atlas.workflows.leaks.search import LeakSearch, open_leak_search
from index.copies.false_claims import FalseClaims
from index.settings import LeakSettings, RegistrationSettings

EXPECTED = (1.0, 0.1, 0.01)
Way = Literal["law", "calibration"]
CONFIDENCE = 0.95
FIRST_SEED = 1000  # no other benchmark draws these atlases


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The scores of the test images of an atlas without copies.

    Attributes:
        pairs: The registration score of each pair of a test image and a candidate.
        best: The score of each test image's best candidate.
        false_claims: The calibration of the atlas.
    """

    pairs: NDArray[np.float64]
    best: NDArray[np.float64]
    false_claims: FalseClaims


def main(
    out: Path,
    runs: int = 10,
    identities: int = 30,
    size_px: int = 128,
    planted_copies: int = 60,
    first_seed: int = FIRST_SEED,
) -> None:
    """Write false_alarms.csv and false_alarms.md, and print the second.

    Args:
        out: The folder of the atlases and the tables; finished work in it is used again.
        runs: The number of atlases.
        identities: The antibodies of each atlas, of six labelled fields and two test images; as
            many others occur among the test images only.
        size_px: The side of an image.
        planted_copies: The copies that are planted for the calibration of each atlas.
        first_seed: The seed of the first atlas.
    """
    drawn = DrawnAtlasSettings(
        identities=identities, novel_identities=identities, size_px=size_px, copies=0
    )
    settings = replace(LeakSettings(), planted_copies=planted_copies)
    rows = []
    for seed in range(first_seed, first_seed + runs):
        scored = scores_of(replace(drawn, seed=seed), settings, out / f"seed_{seed}")
        rows += [{"seed": seed, **row} for row in alarms(scored)]
        print(f"{seed - first_seed + 1} of {runs} runs", flush=True)
    table = pd.DataFrame(rows)
    save_table(out / "false_alarms.csv", table)
    text = markdown(table)
    with written_beside(out / "false_alarms.md") as beside:
        beside.write_text(text, encoding="utf-8")
    print(text)


def scores_of(drawn: DrawnAtlasSettings, settings: LeakSettings, folder: Path) -> Scored:
    """Draw an atlas, and search its test images among the labelled ones."""
    data, index = folder / "data", folder / "index"
    draw_atlas(drawn, data, jobs=os.cpu_count() or 1)
    build_index(data, "frozen", index)
    manifest, opened = open_atlas_index(data, index)
    search = open_leak_search(manifest, opened, folder / "store", settings, RegistrationSettings())
    found, scores_NK = searched(search, manifest.of("test").ids)
    return Scored(
        pairs=scores_NK[found.reference_ids_NK != ""],
        best=scores_NK.max(axis=1),
        false_claims=measure_same_image(search).calibration.false_claims,
    )


def searched(search: LeakSearch, ids: Sequence[str]) -> tuple[Neighbours, NDArray[np.float64]]:
    """Return the candidates of test images, and their registration scores."""
    images = search.stored("test images")
    found = search.candidates(search.embedded(ids, images), images)
    return found, search.registrations(found, images).scores_NK.astype(float)


def alarms(scored: Scored) -> list[dict[str, object]]:
    """Return, for each way and expectation, the score and the false alarms from it on."""
    ways: dict[Way, tuple[NDArray[np.float64], Callable[[float], float]]] = {
        "law": (scored.pairs, lambda expected: np.log10(len(scored.pairs) / expected)),
        "calibration": (
            scored.best,
            lambda expected: scored.false_claims.score_at(expected / len(scored.best)),
        ),
    }
    return [
        {
            "way": way,
            "expected": expected,
            "tried": len(scores),
            "score": float(from_score(expected)),
            "counted": int((scores >= from_score(expected)).sum()),
        }
        for way, (scores, from_score) in ways.items()
        for expected in EXPECTED
    ]


def markdown(table: pd.DataFrame) -> str:
    """Return the counts of all runs as a table.

    Args:
        table: The rows of `alarms`, each with the seed of its run.
    """
    runs = table["seed"].nunique()
    lines = [
        f"# False alarms in {runs} drawn atlases without copies\n",
        "| counted by | tried in a run | score (least to most) | expected in a run | "
        "counted in a run (95%) | counted in all runs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for (way, expected), rows in table.groupby(["way", "expected"], sort=False):
        counted, score = int(rows["counted"].sum()), rows["score"]
        low, high = (bound / runs for bound in poisson_interval(counted))
        lines.append(
            f"| {way} | {rows['tried'].mean():,.0f} | {score.median():.1f} ({score.min():.1f} to "
            f"{score.max():.1f}) | {expected:g} | {counted / runs:.3g} ({low:.2g} to {high:.2g}) | "
            f"{counted} |"
        )
    return "\n".join(lines) + "\n"


def poisson_interval(count: int) -> tuple[float, float]:
    """Return the exact interval of the expectation of a count (Garwood 1936).

    Example:
        >>> [round(bound, 2) for bound in poisson_interval(3)]
        [0.62, 8.77]
    """
    tail = (1 - CONFIDENCE) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(chi2.isf(tail, 2 * count + 2)) / 2


if __name__ == "__main__":
    tyro.cli(main)
