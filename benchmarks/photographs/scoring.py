"""How many copies a method finds, and what it claims wrongly.

A method claims for a new picture its best known one. A copy is found if that is the picture that it
was made from. A claim is false if the new picture is no copy, or a copy of another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.stats import beta

from benchmarks.photographs.folders import NewPicture

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Score:
    """The result of a method: found of so many copies, false claims of so many new pictures.

    missed: How many copies of each edit were not found, without the edits of which none was missed.
    """

    found: int
    copies: int
    false: int
    pictures: int
    missed: dict[str, int]


def score_claims(truth: Sequence[NewPicture], claims: pd.DataFrame) -> Score:
    """Compare claims with the truth.

    Args:
        truth: What each new picture is.
        claims: The columns new, known and score; several rows for a new picture are allowed.
    """
    best = claims.sort_values("score", kind="stable").drop_duplicates("new", keep="last")
    claimed = dict(zip(best["new"], best["known"], strict=True))
    copies = [row for row in truth if row.known]
    missed = [row.edit for row in copies if claimed.get(row.new) != row.known]
    false = [row for row in truth if row.new in claimed and claimed[row.new] != row.known]
    return Score(
        found=len(copies) - len(missed),
        copies=len(copies),
        false=len(false),
        pictures=len(truth),
        missed={edit: missed.count(edit) for edit in dict.fromkeys(missed)},
    )


def best_threshold(truth: Sequence[NewPicture], claims: pd.DataFrame) -> float:
    """Return the threshold with the largest number of found copies less false claims.

    It is chosen with the truth at hand, which no user has.
    """

    def gain(threshold: float) -> int:
        score = score_claims(truth, claims[claims["score"] >= threshold])
        return score.found - score.false

    return max(sorted(claims["score"].unique(), reverse=True), key=gain)


def interval(count: int, of: int) -> tuple[float, float]:
    """Return the 95% Clopper-Pearson interval of a share."""
    tail = (1 - CONFIDENCE) / 2
    low = beta.ppf(tail, count, of - count + 1) if count else 0.0
    high = beta.ppf(1 - tail, count + 1, of - count) if count < of else 1.0
    return float(low), float(high)
