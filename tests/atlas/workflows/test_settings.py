"""Settings of workflows that cannot work are refused when they are made, all problems at once."""

from typing import Any

import pytest

from atlas.core.errors import UserError
from atlas.workflows.settings import (
    ClassifierFolds,
    ComparisonSettings,
    FoldSettings,
    MapSettings,
    block_gap,
)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (FoldSettings, {"folds": 1}, r"--folds must be at least 2 \(got 1\)"),
        (FoldSettings, {"by": "random", "gap": 3}, "--gap applies to blocks only"),
        (FoldSettings, {"folds": 0, "gap": -1}, "--folds must .*; --gap must not be negative"),
        (ClassifierFolds, {"folds": 1}, r"--folds must be at least 2 \(got 1\)"),
        (ClassifierFolds, {"folds": 1, "gap": 3}, "--folds must .*; --gap applies to blocks only"),
        (ComparisonSettings, {"seeds": 0, "first_folds": 0}, "--seeds must .*; --first-folds must"),
        (MapSettings, {"images": 0, "box_share": 2.0}, "--images must .*; --box-share must"),
    ],
)
def test_what_cannot_work_is_refused(kind: type, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        kind(**given)


def test_blocks_have_a_gap_unless_another_is_given() -> None:
    assert block_gap(FoldSettings()) == block_gap(ClassifierFolds(by="blocks")) == 20
    assert block_gap(FoldSettings(gap=0)) == 0
