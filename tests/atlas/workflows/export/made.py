"""A tiny atlas and a run on it, with claims, a submission and verdicts that are written by hand."""

from pathlib import Path

import pandas as pd

from atlas.dataset.artifacts import LEAK_COLUMNS, ORIGIN_COLUMNS, save_table
from atlas.dataset.image_keys import keys_in
from atlas.dataset.verdicts import VERDICTS_NAME, Correction, Verdict, add_verdicts
from tests.conftest import write_tiny_atlas

TESTS = ("t0", "t1", "t2")
CLAIMED = {"t0": ("a", "same_image", 0.99, "0"), "t1": ("b", "sibling", 0.9, "1 2")}
PREDICTED = {"t0": ("0", "same_image"), "t1": ("2", "classifier"), "t2": ("0 1", "classifier")}


def made_run(folder: Path, **settings: object) -> tuple[Path, Path]:
    """Return a data folder and a run: t0 is claimed to be a, and t1 a sibling of b."""
    data = write_tiny_atlas(folder / "data", **{"test": TESTS, **settings})  # type: ignore[arg-type]
    save_leaks(folder / "runs", CLAIMED)
    save_submission(folder / "runs", PREDICTED)
    return data, folder / "runs"


def save_leaks(run: Path, claimed: dict[str, tuple[str, str, float, str]]) -> None:
    rows = [
        {
            "Id": i, "match_id": match, "relation": relation, "similarity": 0.5,
            "registration_score": 42.5 if relation == "same_image" else float("nan"),
            "confidence": confidence, "labels": labels, "decision": "transfer",
            "reason": f'{i} "is" {match}, <b>surely</b>',
        }
        for i, (match, relation, confidence, labels) in claimed.items()
    ]  # fmt: skip
    save_table(run / "leaks" / "leaks.csv", pd.DataFrame(rows, columns=list(LEAK_COLUMNS)))


def save_submission(run: Path, predicted: dict[str, tuple[str, str]]) -> None:
    rows = [{"Id": i, "Predicted": labels} for i, (labels, _) in predicted.items()]
    save_table(run / "submission" / "submission.csv", pd.DataFrame(rows))
    origins = [{"Id": i, "origin": origin} for i, (_, origin) in predicted.items()]
    table = pd.DataFrame(origins, columns=list(ORIGIN_COLUMNS))
    save_table(run / "submission" / "origins.csv", table)


def give(data: Path, run: Path, *said: tuple[str, str, str, str]) -> None:
    """Add verdicts of (query, match, verdict, reviewer)."""
    keys = keys_in(data, run / "store")
    add_verdicts(
        run / VERDICTS_NAME,
        [
            Verdict(
                query_id=one, match_id=other, verdict=verdict, reviewer=reviewer,
                query_key=keys[one], match_key=keys[other],
            )
            for one, other, verdict, reviewer in said
        ],
    )  # fmt: skip


def correct(data: Path, run: Path, image_id: str, labels: tuple[int, ...] | None) -> None:
    key = keys_in(data, run / "store")[image_id]
    one = Correction(id=image_id, key=key, labels=labels, reviewer="Ann")
    add_verdicts(run / VERDICTS_NAME, corrections=[one])
