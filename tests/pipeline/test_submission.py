import numpy as np
import pandas as pd
import pytest

from atlas.artifacts import LEAK_COLUMNS, LeakReport, ProbabilitySet
from atlas.errors import UserError
from classify.thresholds import Thresholds
from pipeline.submission import classified, merge

THRESHOLDS = Thresholds(per_class=(0.5, 0.5, 0.5), overall=0.5, without_positives=())


def leak(image_id: str, *, decision: str, labels: str = "2", relation: str = "same_image") -> dict:
    return {
        "Id": image_id, "match_id": "m", "relation": relation, "similarity": 0.9, "evidence": 0.95,
        "confidence": 0.99, "labels": labels, "decision": decision, "reason": "because",
    }  # fmt: skip


def report(*rows: dict) -> LeakReport:
    return LeakReport(table=pd.DataFrame(rows, columns=list(LEAK_COLUMNS)))


def test_the_classifier_is_joined_by_id_and_leaves_no_row_empty():
    probabilities = ProbabilitySet(
        ids=("z", "y", "x"),
        probabilities_NC=np.array([[0.9, 0.6, 0.1], [0.1, 0.2, 0.3], [0.0, 0.7, 0.0]], np.float32),
        provenance={},
    )
    predicted = classified(["x", "y", "z"], probabilities, THRESHOLDS)
    assert predicted == {"x": "1", "y": "2", "z": "0 1"}


def test_an_image_without_probabilities_is_named():
    probabilities = ProbabilitySet(
        ids=("x",), probabilities_NC=np.zeros((1, 3), np.float32), provenance={}
    )
    with pytest.raises(UserError, match="1 of 2 images have no row: q"):
        classified(["x", "q"], probabilities, THRESHOLDS)


def test_transferred_where_decided_and_the_classifier_elsewhere():
    leaks = report(leak("b", decision="transfer", labels="2 0"), leak("c", decision="abstain"))
    made = merge(["c", "a", "b"], {"a": "1", "b": "1", "c": "1"}, leaks)
    assert made.predicted.to_dict("list") == {"Id": ["c", "a", "b"], "Predicted": ["1", "1", "2 0"]}
    origins = made.origins.set_index("Id")
    assert origins["origin"].to_dict() == {"c": "classifier", "a": "classifier", "b": "same_image"}
    assert origins["final_decision"].to_dict() == {"c": "abstain", "a": "", "b": "transfer"}
    assert origins.at["c", "match_id"] == "m"  # an abstention still says what it saw
    assert (origins["reason"] != "").all()
