from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import UserError
from atlas.dataset.artifacts import (
    LEAK_COLUMNS,
    LeakReport,
    ProbabilitySet,
    save_probabilities,
    save_table,
)
from atlas.workflows.submit.submission import (
    Override,
    Overrides,
    make_submission,
    merge,
    weigh_overrides,
)
from classify.decisions.thresholds import Thresholds, save_thresholds
from tests.conftest import write_tiny_atlas


def leak(image_id: str, *, decision: str, labels: str = "2", relation: str = "same_image") -> dict:
    return {
        "Id": image_id, "match_id": "m", "relation": relation,
        "similarity": 0.9, "registration_score": 42.1,
        "confidence": 0.99, "labels": labels, "decision": decision, "reason": "because",
    }  # fmt: skip


def report(*rows: dict) -> LeakReport:
    return LeakReport(table=pd.DataFrame(rows, columns=list(LEAK_COLUMNS)))


def probabilities(rows: dict[str, list[float]]) -> ProbabilitySet:
    return ProbabilitySet(
        ids=tuple(rows), probabilities_NC=np.array(list(rows.values()), np.float32), provenance={}
    )


def override(*, made: bool, gain: float = 0.01) -> Override:
    return Override(made=made, right=0.9, gain=gain, error=0.001)


def test_an_image_without_probabilities_is_named():
    claims = report(leak("q", decision="transfer"))
    held_out = (np.full((4, 3), 0.5), np.eye(4, 3, dtype=np.uint8))
    with pytest.raises(UserError, match="1 of 1 images have no row: q"):
        weigh_overrides(
            claims, probabilities({"x": [0.1, 0.1, 0.1]}), np.zeros((1, 3), np.uint8), held_out,
            seed=0,
        )  # fmt: skip


def test_only_claims_that_may_transfer_are_weighed_and_joined_by_id():
    """A classifier that knows nothing, a rare label that a sure match brings."""
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 3)) < [0.5, 0.5, 0.1]).astype(np.uint8)
    held_out = (np.clip(0.8 * truth + 0.1, 0, 1), truth)
    tests = probabilities({i: [0.9, 0.1, 0.1] for i in "abcd"})
    claims = report(leak("d", decision="transfer", labels="2"), leak("a", decision="abstain"))
    predicted = np.tile(np.array([1, 0, 0], np.uint8), (4, 1))
    found = weigh_overrides(claims, tests, predicted, held_out, seed=0).by_id
    assert set(found) == {"d"}
    assert found["d"].error > 0


def test_made_where_it_is_worth_it_and_the_classifier_elsewhere():
    leaks = report(
        leak("b", decision="transfer", labels="2 0"), leak("c", decision="abstain"),
        leak("d", decision="transfer"),
    )  # fmt: skip
    overrides = Overrides(
        by_id={"b": override(made=True), "d": override(made=False, gain=-0.02)}, wrong_share=0.1
    )
    predicted = np.tile(np.array([0, 1, 0], np.uint8), (4, 1))
    made = merge(["c", "a", "b", "d"], predicted, leaks, overrides)
    assert made.predicted["Id"].tolist() == ["c", "a", "b", "d"]
    assert made.predicted["Predicted"].tolist() == ["1", "1", "2 0", "1"]
    origins = made.origins.set_index("Id")
    assert origins["origin"].to_dict() == {
        "c": "classifier", "a": "classifier", "b": "same_image", "d": "classifier"
    }  # fmt: skip
    assert origins["final_decision"].to_dict() == {
        "c": "abstain", "a": "", "b": "transfer", "d": "abstain"
    }  # fmt: skip
    assert origins["expected_gain"].dropna().to_dict() == {"b": 0.01, "d": -0.02}
    assert "not made" in origins.at["d", "reason"]
    assert origins.at["c", "match_id"] == "m"  # an abstention still says what it saw
    assert (origins["reason"] != "").all()


TESTS = ("t0", "t1", "t2")
CLAIMS = (
    leak("t0", decision="transfer", labels="0"),
    leak("t1", decision="abstain", labels="1 2"),
)


def submitted(folder: Path, claims: tuple[dict, ...], groups: dict[str, str]) -> dict[str, str]:
    """Return the text of both submissions, made of these claims and groups of equal images."""
    data = write_tiny_atlas(folder / "data", train={"m": "0", "n": "1", "o": "2"}, test=TESTS)
    save_table(folder / "leaks" / "leaks.csv", report(*claims).table)
    table = pd.DataFrame({"Id": list(groups), "Group": list(groups.values())})
    save_table(folder / "leaks" / "groups.csv", table)
    rows = np.array([[0.1, 0.9, 0.2], [0.8, 0.1, 0.2], [0.1, 0.2, 0.7]], np.float32)
    for name, ids in (("test", TESTS), ("validation", ("m", "n", "o"))):
        saved = ProbabilitySet(ids=ids, probabilities_NC=rows, provenance={})
        save_probabilities(folder / "classifier" / f"{name}_probabilities.h5", saved)
    thresholds = Thresholds(per_class=(0.5,) * 3, overall=0.5, without_positives=())
    save_thresholds(folder / "classifier", thresholds, ("zero", "one", "two"))
    made = make_submission(data, folder / "leaks", folder / "classifier", folder / "made").folder
    names = ("submission.csv", "submission_without_transfer.csv")
    return {name: (made / name).read_text() for name in names}


def test_without_transferred_labels_is_the_classifier_alone(tmp_path):
    files = submitted(tmp_path, CLAIMS, {})
    assert files["submission_without_transfer.csv"] == "Id,Predicted\nt0,1\nt1,0\nt2,2\n"
    assert files["submission.csv"] == "Id,Predicted\nt0,0\nt1,0\nt2,2\n"


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        (CLAIMS[:1], {}),
        ((CLAIMS[0], {**CLAIMS[1], "labels": "0", "match_id": "o", "confidence": 0.1}), {}),
        ((*CLAIMS, leak("t2", decision="abstain", labels="0 1", relation="sibling")), {}),
        (CLAIMS, {"t0": "t0", "t1": "t0", "t2": "t0", "m": "t0"}),
    ],
    ids=["removed", "changed", "added", "test images of one group"],
)
def test_claims_that_abstain_change_no_row(tmp_path, claims, groups):
    before = submitted(tmp_path / "before", CLAIMS, {})
    assert submitted(tmp_path / "after", claims, groups) == before
