"""The claims of this project, from build-index and find-leaks as a user would run them."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from atlas.core.errors import Stage
from atlas.dataset.artifacts import load_matches, load_table
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.leaks.calibration import load_calibration
from benchmarks.leaks.claims import COLUMNS, DECIMALS, OURS, About, save_claims
from index.copies.registration import register
from index.index_folder import load_index
from index.settings import RegistrationSettings

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run_ours(data: Path, run: Path, claims: Path) -> None:
    """Fill `run` with index and leaks, and `claims` with the claims about each image.

    The score of a candidate is its registration score.
    """
    fresh, start = not (run / "store").exists(), time.perf_counter()
    build_index(data, run)
    _script("find_leaks", "--index", run / "index", "--data", data, "--out", run / "leaks",
            "--accept-unproven-copies", "--accept-unproven-siblings")  # fmt: skip
    seconds = time.perf_counter() - start
    threshold = load_calibration(run / "leaks").same_image.calibration.threshold
    # Tables have six rounded decimals, so the threshold must not exceed a score that reached it.
    claims_from = np.floor(threshold * 10**DECIMALS) / 10**DECIMALS
    about = About(method=OURS, claims_from=claims_from, seconds=seconds if fresh else None)
    save_claims(claims, about, claims_of(data, run))


def build_index(data: Path, run: Path) -> None:
    _script("build_index", "--data", data, "--embedder", "frozen", "--out", run / "index")


def claims_of(data: Path, run: Path) -> pd.DataFrame:
    """Return each test image's best match in the gallery and among test images.

    The result also has the pairs of labelled images that reach the threshold. The best match is the
    one with the highest registration score. Pairs in which nothing agrees have no rank, so they are
    no matches.
    """
    matches = load_matches(run / "leaks" / "matches.csv", stage=Stage.LEAKS).table
    _report_siblings(matches, data, run)
    examined = matches[matches["registration_score"] > 0].rename(
        columns={"registration_score": "score"}
    )
    among = examined.assign(test=examined["match_split"] == "test").groupby(["query_id", "test"])
    best = examined[examined["score"] == among["score"].transform("max")]
    suspected = load_table(run / "leaks" / "suspected_copies.csv", stage=Stage.LEAKS)
    within = suspected.rename(columns={"registration_score": "score"})
    return pd.concat([best[COLUMNS], within[COLUMNS]], ignore_index=True)


def _report_siblings(matches: pd.DataFrame, data: Path, run: Path) -> None:
    """Add the registration scores of pairs that are claimed as siblings.

    matches.csv omits these scores, so the pairs are compared again to get a rank below the
    threshold.
    """
    unknown = matches[matches["registration_score"].isna()]
    index, law = load_index(run / "index"), load_calibration(run / "leaks").law
    store = fill_store(read_manifest(data), run / "store", size_px=index.image_size_px)
    for query_id, pairs in unknown.groupby("query_id"):
        (query,) = store.read([str(query_id)])
        references = list(store.read(pairs["match_id"].tolist()))
        found = register(query, references, RegistrationSettings(), law)
        matches.loc[pairs.index, "registration_score"] = [one.score for one in found]


def _script(name: str, *arguments: object) -> None:
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *map(str, arguments)]
    subprocess.run(command, check=True)
