from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.dataset.artifacts import ProbabilitySet
from classify.decisions.mistakes import Mistakes, find_mistakes, save_mistakes
from classify.decisions.thresholds import Thresholds

NAMES = ("nucleus", "cytosol", "membrane")
THRESHOLD_METHODS = Thresholds(per_class=(0.5, 0.25, 0.75), overall=0.5, without_positives=())


@pytest.fixture
def mistakes() -> Mistakes:
    """Return mistakes in which b has cytosol instead of nucleus.

    No probability of a reaches its threshold, so its most likely label is given.
    """
    probabilities = {
        "a": [0.4, 0.1, 0.2],  # nucleus: right
        "b": [0.3, 0.6, 0.1],  # nucleus missed, cytosol added
        "c": [0.1, 0.9, 0.74],  # cytosol right, membrane missed by a little
        "d": [0.2, 0.8, 0.9],  # both right
        "e": [0.2, 0.9, 0.1],  # nucleus and membrane missed, cytosol added
    }
    truth = [[1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 1], [1, 0, 1]]
    found = ProbabilitySet(
        ids=tuple(probabilities),
        probabilities_NC=np.array(list(probabilities.values()), np.float32),
        provenance={},
    )
    return find_mistakes(found, np.array(truth, np.uint8), THRESHOLD_METHODS, NAMES)


def test_every_image_has_a_row_and_most_mistakes_come_first(mistakes: Mistakes) -> None:
    assert mistakes.images["Id"].tolist() == ["e", "b", "c", "a", "d"]
    assert mistakes.images.iloc[0].to_dict() == {
        "Id": "e", "labels": "0 2",
        "missed": "0 2", "missed_probabilities": "0.2000 0.1000", "missed_cuts": "0.5000 0.7500",
        "added": "1", "added_probabilities": "0.9000", "added_cuts": "0.2500",
    }  # fmt: skip
    assert mistakes.images.set_index("Id").loc["a", ["missed", "added"]].tolist() == ["", ""]


def test_counts_by_class(mistakes: Mistakes) -> None:
    counts = mistakes.classes.set_index("name")[["images", "given", "right", "missed", "added"]]
    assert counts.T.to_dict("list") == {
        "nucleus": [3, 1, 1, 2, 0],
        "cytosol": [2, 4, 2, 0, 2],
        "membrane": [3, 1, 1, 2, 0],
    }
    assert mistakes.classes["f1"].tolist() == pytest.approx([2 / 4, 4 / 6, 2 / 4])
    assert mistakes.classes["threshold"].tolist() == [0.5, 0.25, 0.75]


def test_confusions_are_counted_in_pairs(mistakes: Mistakes) -> None:
    """Count no pair for c, which misses membrane and adds nothing."""
    assert mistakes.confused.to_numpy().tolist() == [
        [0, "nucleus", 1, "cytosol", 2],
        [2, "membrane", 1, "cytosol", 1],
    ]


def test_tables_are_written_with_a_heading_even_where_nothing_is_wrong(tmp_path: Path) -> None:
    right = ProbabilitySet(
        ids=("a",), probabilities_NC=np.array([[1, 0, 0]], np.float32), provenance={}
    )
    save_mistakes(
        tmp_path, find_mistakes(right, np.array([[1, 0, 0]], np.uint8), THRESHOLD_METHODS, NAMES)
    )
    assert len(pd.read_csv(tmp_path / "confused.csv")) == 0
    assert len(pd.read_csv(tmp_path / "missed_and_added.csv")) == 1
    assert len(pd.read_csv(tmp_path / "by_class.csv")) == 3
