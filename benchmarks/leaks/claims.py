"""The claims of a method: the best match of each image, and a score for it.

Every method writes `METHOD.csv` (query_id, match_id, and a score that rises with certainty) and
`METHOD.json` (the score from which it claims, its seconds, and a note). Only scoring.py judges
them. This module needs neither torch nor OpenCV, because rivals run in an environment of their own.
Axes: Q queries, M matches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.files import write_json, written_beside
from atlas.core.result_files import read_json

OURS, COSINE = "ours", "cosine"
HASHES = ("phash", "dhash", "ahash", "whash")
RIVALS = (
    *(f"imagededup {kind}" for kind in HASHES),
    *(f"imagededup {kind}, 8 rotations" for kind in HASHES),
    "cleanvision exact",
    "cleanvision near",
    "imagededup CNN",  # last, because hashing forks and a network starts threads
)
SIFT, HASH_256, SHARED_BLOCKS = PLAIN = (
    "SIFT with RANSAC", "phash of 256 bits, 8 rotations", "share of equal blocks",
)  # fmt: skip
METHODS = (OURS, COSINE, *PLAIN, *RIVALS)
COLUMNS = ["query_id", "match_id", "score"]
TEST = "test"
QUERIES_AT_ONCE = 256
TYPES = {"query_id": str, "match_id": str, "score": float}
DECIMALS = 6

# Scores of queries against matches, Q x M; -inf where there is nothing to compare.
Compare = Callable[[Sequence[str], Sequence[str]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class About:
    """Facts about a method's run.

    `seconds` is None if a stopped run was resumed, so that its time is unknown. `within_gallery`
    says whether labelled images were compared with one another.
    """

    method: str
    claims_from: float
    seconds: float | None
    note: str = ""
    within_gallery: bool = True


def save_claims(folder: Path, about: About, claims: pd.DataFrame) -> None:
    """Write the claims; the JSON is written last and marks the method as done."""
    with written_beside(folder / f"{about.method}.csv") as beside:
        claims[COLUMNS].to_csv(beside, index=False, float_format=f"%.{DECIMALS}f")
    write_json(folder / f"{about.method}.json", asdict(about))


def is_done(folder: Path, method: str) -> bool:
    return (folder / f"{method}.json").exists()


def load_claims(folder: Path) -> Iterator[tuple[About, pd.DataFrame]]:
    """Return the claims of finished methods, in the order of METHODS."""
    for method in METHODS:
        if is_done(folder, method):
            about = read_json(folder / f"{method}.json")
            yield About(**about), pd.read_csv(folder / f"{method}.csv", dtype=TYPES)


def best_matches(
    splits: Mapping[str, str],
    compare: Compare,
    *,
    within_gallery: bool = True,
    within_tests: bool = True,
) -> pd.DataFrame:
    """Each test image's best match in the gallery, and its best among the other test images; and
    each gallery image's best in the gallery. Of equally good ones all.

    splits: by image id; whatever is not `test` is the gallery. within_gallery, within_tests:
        whether the images of one split are compared with one another.
    """
    tests = [i for i, split in splits.items() if split == TEST]
    gallery = [i for i, split in splits.items() if split != TEST]
    pairs = [(tests, gallery)]
    pairs += [(tests, tests)] if within_tests else []
    pairs += [(gallery, gallery)] if within_gallery else []
    tables = [
        _best(queries[start : start + QUERIES_AT_ONCE], matches, compare)
        for queries, matches in pairs
        if matches
        for start in range(0, len(queries), QUERIES_AT_ONCE)
    ]
    return pd.concat(tables, ignore_index=True)


def _best(queries: Sequence[str], matches: Sequence[str], compare: Compare) -> pd.DataFrame:
    scores_QM = np.round(compare(queries, matches), DECIMALS)
    names_Q, names_M = np.array(queries, object), np.array(matches, object)
    scores_QM[names_Q[:, None] == names_M] = -np.inf
    top_Q = scores_QM.max(axis=1, keepdims=True)
    rows, columns = np.nonzero((scores_QM == top_Q) & np.isfinite(top_Q))
    found = {
        "query_id": names_Q[rows], "match_id": names_M[columns], "score": scores_QM[rows, columns]
    }  # fmt: skip
    return pd.DataFrame(found, columns=COLUMNS)
