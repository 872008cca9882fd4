"""Statements on new atlases are counted as they should be."""

import numpy as np
import pandas as pd
import pytest

from atlas.dataset.hpa import HPA_CHANNELS
from atlas.dataset.manifest import read_manifest
from benchmarks.new_atlases import (
    COPY,
    NEAR,
    OTHER,
    Scores,
    near_duplicate,
    reliability,
    statements,
)
from tests.conftest import write_tiny_atlas
from tests.index.copies.scores import CANDIDATES, copies, non_matches


def test_bins_of_confidence_are_equally_large_and_rise():
    sure = np.linspace(0, 1, 2001)
    right = np.random.default_rng(0).random(2001) < sure
    bins = reliability(pd.DataFrame({"confidence": sure, "right": right, "weight": 1.0}))
    assert bins["claims"].sum() == 1001  # those from 0.5 on
    assert bins["claims"].between(100, 101).all()
    assert (np.diff(bins["confidence"]) > 0).all()
    assert bins["right"].to_numpy() == pytest.approx(bins["confidence"].to_numpy(), abs=0.1)


def test_rare_claims_count_as_often_as_they_occur():
    """Two of four claims are right; the wrong ones stand for nine times as many."""
    claims = {"confidence": [0.9] * 4, "right": [True, True, False, False], "weight": [1, 1, 9, 9]}
    (found,) = reliability(pd.DataFrame(claims)).to_dict("records")
    assert found["claims"] == 4
    assert found["right"] == pytest.approx(0.1)


def test_a_near_duplicate_that_is_claimed_breaks_what_is_stated():
    natural = non_matches(2000, 0)
    planted, shown = copies(300, 1), copies(100, 2)
    tests = pd.DataFrame({
        "score": [*shown, *non_matches(80, 3), *[40.0] * 20],
        "right": [True] * 100 + [False] * 100,
        "kind": [COPY] * 100 + [OTHER] * 80 + [NEAR] * 20,
    })  # fmt: skip
    scores = Scores(
        planted=planted, natural=natural, independent_U=np.sort(natural)[::-1][:1000],
        candidates=CANDIDATES, tests=tests,
    )  # fmt: skip
    found = statements(scores, 0.9)
    assert (found["claims"], found["right"], found["false"]) == (120, 100, 20)
    assert found["guaranteed"]
    assert not found["kept"]
    assert not found["bounded"]


def test_a_near_duplicate_shares_two_channels_with_its_model(tmp_path):
    manifest = read_manifest(write_tiny_atlas(tmp_path, channels=HPA_CHANNELS))
    rng = np.random.default_rng(0)
    model, own = rng.integers(0, 200, (2, len(HPA_CHANNELS), 32, 32), dtype=np.uint8)
    made = near_duplicate(model, own, manifest, rng)

    def alike(one: np.ndarray, other: np.ndarray) -> list[bool]:
        return [
            np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9 for a, b in zip(one, other, strict=True)
        ]

    assert [name for name, same in zip(HPA_CHANNELS, alike(made, model), strict=True) if same] == [
        "red", "blue",
    ]  # fmt: skip
    assert [name for name, same in zip(HPA_CHANNELS, alike(made, own), strict=True) if same] == [
        "green", "yellow",
    ]  # fmt: skip
