import pandas as pd
import pytest

from atlas.dataset.artifacts import LEAK_COLUMNS, LeakReport
from atlas.workflows.submit.score import score_leaks

TRUTH = pd.DataFrame(
    [
        ("t1", "same_image", "a", "crop"),
        ("t2", "same_image", "b", "crop"),
        ("t3", "same_image", "c", "d4"),
        ("t4", "sibling", "X", ""),
        ("t5", "sibling", "Y", ""),
        ("t6", "novel", "", ""),
        ("t7", "novel", "", ""),
        ("t8", "unsure", "a", ""),
    ],
    columns=["Id", "relation", "source", "edit"],
)
IDENTITIES = {"a": "X", "b": "Y", "c": "Z"}


def leaks(*claims: tuple[str, str, str]) -> LeakReport:
    table = pd.DataFrame(claims, columns=["Id", "match_id", "relation"])
    return LeakReport(table=table.reindex(columns=list(LEAK_COLUMNS)))


def test_by_a_hand_worked_example():
    found = score_leaks(
        leaks(
            ("t1", "a", "same_image"),  # right
            ("t2", "c", "same_image"),  # a copy, of another image: not found, yet not false
            ("t4", "a", "sibling"),  # right identity
            ("t5", "a", "sibling"),  # wrong identity
            ("t6", "b", "same_image"),  # false
            ("t7", "b", "sibling"),  # wrong: not a sibling at all
            ("t8", "a", "same_image"),  # unsure: on neither side
        ),
        TRUTH,
        IDENTITIES,
        by_edit=True,
    )
    counts = {edit: (share.count, share.of) for edit, share in found.copies_by_edit.items()}
    assert counts == {"all": (1, 3), "crop": (1, 2), "d4": (0, 1)}
    assert (found.false_copies.count, found.false_copies.of) == (1, 4)
    assert found.false_copy_ids == ("t6",)
    assert (found.sibling_precision.count, found.sibling_precision.of) == (1, 3)
    assert (found.sibling_recall.count, found.sibling_recall.of) == (1, 2)


def test_no_claims_find_nothing_and_claim_nothing_falsely():
    found = score_leaks(leaks(), TRUTH, IDENTITIES, by_edit=False)
    assert set(found.copies_by_edit) == {"all"}
    assert found.copies_by_edit["all"].count == 0
    assert found.false_copies.count == 0


def test_intervals_are_clopper_pearson():
    found = score_leaks(leaks(("t1", "a", "same_image")), TRUTH, IDENTITIES, by_edit=False)
    # 1 of 3: bounds from the beta quantiles, worked by hand with a table.
    assert found.copies_by_edit["all"].interval == pytest.approx((0.0084, 0.9057), abs=1e-4)
    # None of 4: 1 - .025 ** (1 / 4).
    assert found.false_copies.interval == pytest.approx((0.0, 1 - 0.025**0.25))
