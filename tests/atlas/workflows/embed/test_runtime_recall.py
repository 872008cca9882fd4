"""The guard of few bits, worked by hand."""

import pytest

from atlas.workflows.embed.runtime_recall import LARGEST_FALL, Recall


def recall(copies: int, siblings: int) -> Recall:
    return Recall(copies=copies / 2000, copy_count=2000, siblings=siblings / 600, sibling_count=600)


@pytest.mark.parametrize(
    ("found", "passes"),
    [
        ((1353, 249), True),
        ((1343, 249), True),  # 10 of 2,000 are half a point
        ((1342, 249), False),
        ((1353, 246), True),  # 3 of 600 are half a point
        ((1353, 245), False),
        ((1400, 300), True),
        ((1400, 245), False),  # either counts
    ],
)
def test_half_a_point_less_is_the_most(found: tuple[int, int], passes: bool) -> None:
    assert (recall(1353, 249).fall_to(recall(*found)) <= LARGEST_FALL) == passes
