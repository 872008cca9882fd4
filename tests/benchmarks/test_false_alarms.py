"""False alarms: what is counted from a score on, and the table of all runs."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.false_alarms import Scored, alarms, markdown, poisson_interval
from index.copies.false_claims import FalseClaims


def scored(pairs: np.ndarray, best: np.ndarray) -> Scored:
    law = FalseClaims(candidates=10, start=0.0, rate=1e-9, decay=0.44)  # the law counts
    return Scored(pairs=pairs, best=best, false_claims=law)


def test_pairs_of_the_law_are_counted_as_expected() -> None:
    """Of 100,000 pairs, 10^-score reach a score."""
    pairs = -np.log10((np.arange(100_000) + 0.5) / 100_000)
    rows = alarms(scored(pairs, pairs[::10]))
    law = {row["expected"]: row for row in rows if row["way"] == "law"}
    assert [law[expected]["score"] for expected in (1.0, 0.1, 0.01)] == pytest.approx([5, 6, 7])
    assert [law[expected]["counted"] for expected in (1.0, 0.1, 0.01)] == [1, 0, 0]


def test_queries_are_counted_from_the_scores_of_the_calibration() -> None:
    """A query has 10 candidates, so one of 1,000 queries reaches a score of 4."""
    best = np.array([4.5, 4.01, 3.99, 1.0, -1.0] + [0.0] * 995)
    rows = alarms(scored(np.zeros(10_000), best))
    found = {row["expected"]: row for row in rows if row["way"] == "calibration"}
    assert found[1.0]["score"] == pytest.approx(4)
    assert found[0.1]["score"] == pytest.approx(5)
    assert [found[expected]["counted"] for expected in (1.0, 0.1, 0.01)] == [2, 0, 0]


def test_the_table_adds_the_runs() -> None:
    rows = [
        {"seed": seed, "way": "law", "expected": 1.0, "tried": 2000, "score": 3.3 + seed / 10,
         "counted": seed}
        for seed in range(4)
    ]  # fmt: skip
    last = markdown(pd.DataFrame(rows)).splitlines()[-1]
    assert last == "| law | 2,000 | 3.5 (3.3 to 3.6) | 1 | 1.5 (0.55 to 3.3) | 6 |"


def test_poisson_intervals_are_those_of_tables() -> None:
    assert poisson_interval(0) == pytest.approx((0, 3.689), abs=0.001)
    assert poisson_interval(10) == pytest.approx((4.795, 18.390), abs=0.001)
