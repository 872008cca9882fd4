import numpy as np
import pandas as pd
import pytest

from benchmarks.new_atlases import calibration_error, reliability
from benchmarks.reliability_diagrams import siblings


def claims(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"confidence": confidence, "right": right.astype(int), "weight": 1.0})


def test_confidence_that_is_kept_has_no_error_and_one_that_is_not_has_its_distance():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 40_000)
    assert calibration_error(reliability(claims(sure, rng.random(40_000) < sure))) < 0.01
    false = reliability(claims(sure, rng.random(40_000) < sure - 0.2))
    assert calibration_error(false) == pytest.approx(0.2, abs=0.01)


def test_weights_count():
    table = claims(np.full(60, 0.8), np.arange(60) < 30)
    table["weight"] = np.where(table["right"] == 1, 4.0, 1.0)
    assert reliability(table)["right"].tolist() == [pytest.approx(0.8)]


def test_siblings_are_weighted_to_the_stated_share(tmp_path):
    data, folder = tmp_path / "data", tmp_path / "leaks"
    data.mkdir()
    folder.mkdir()
    ids = [f"s{n}" for n in range(4)] + [f"n{n}" for n in range(2)]
    pd.DataFrame({"Id": ["a", "b"], "Identity": ["A", "B"]}).to_csv(data / "train.csv", index=False)
    pd.DataFrame(
        {"Id": ids, "relation": ["sibling"] * 4 + ["novel"] * 2, "source": ["A"] * 4 + [""] * 2,
         "edit": "", "Target": "0"}
    ).to_csv(data / "truth.csv", index=False)  # fmt: skip
    pd.DataFrame({"Id": ids, "Predicted": "0"}).to_csv(data / "sample_submission.csv", index=False)
    columns = ("similarity", "registration_score", "sibling_score", "confidence")
    rows = [
        {"Id": i, "match_id": match, "relation": "sibling", **dict.fromkeys(columns, 0.9),
         "labels": "0", "decision": "abstain", "reason": ""}
        for i, match in zip(ids, "aabaab", strict=True)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "leaks.csv", index=False)
    siblings(data, folder, folder, 0.1, tmp_path / "claims.csv")
    table = pd.read_csv(tmp_path / "claims.csv")
    after = table[table["way"] == "after"]
    assert after["right"].tolist() == [1, 1, 0, 1, 0, 0]
    np.testing.assert_allclose(after["weight"], [0.025] * 4 + [0.45] * 2)
