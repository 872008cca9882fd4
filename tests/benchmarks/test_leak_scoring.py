"""Scoring by a hand-worked example: five copies, four others, one of unsure truth."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.leaks.claims import About, best_matches
from benchmarks.leaks.scoring import (
    LeakScore,
    Truth,
    found_by_edit,
    judged,
    labels_withheld,
    losses_by_edit,
    score,
    special_counts,
)

TRUTH = Truth(
    table=pd.DataFrame(
        [
            ("c1", "same_image", "a", "crop"),
            ("c2", "same_image", "b", "crop"),
            ("c3", "same_image", "c", "jpeg"),
            ("c4", "same_image", "d", "conflict"),
            ("c5", "same_image", "e", "jpeg"),
            ("n1", "novel", "", ""),
            ("n2", "novel", "n1", "test_test"),
            ("n3", "sibling", "X", ""),
            ("n4", "novel", "", "blank"),
            ("u1", "unsure", "a", ""),
        ],
        columns=["Id", "relation", "source", "edit"],
    ),
    planted=pd.DataFrame(
        [
            ("c1", "test", "a", "crop"),
            ("twin", "train", "d", "conflict"),
            ("grey", "train", "", "constant"),
        ],
        columns=["Id", "split", "source", "edit"],
    ),
)
CLAIMS = [
    ("c1", "a", 0.95),  # right
    ("c1", "c2", 0.99),  # another test image: no claim on the gallery
    ("c2", "z", 0.80),  # a copy, of another image
    ("c3", "y", 0.90),  # as good as the source: told in its favour
    ("c3", "c", 0.90),
    ("c4", "twin", 0.70),  # a copy of the source that is in the gallery too
    ("n1", "a", 0.85),  # false
    ("n2", "n1", 0.97),
    ("n2", "b", 0.20),
    ("n4", "grey", 0.75),  # false
    ("u1", "a", 0.99),  # counts on neither side
    ("twin", "d", 0.88),
]


def claims(rows: list[tuple[str, str, float]] | None = None) -> pd.DataFrame:
    return pd.DataFrame(CLAIMS if rows is None else rows, columns=["query_id", "match_id", "score"])


def scored(claims_from: float) -> LeakScore:
    return score(judged(claims(), TRUTH), claims_from)


def test_the_score_at_the_threshold_of_the_method() -> None:
    own = scored(0.8).own
    assert (own.found.count, own.found.of) == (2, 5)  # c1, c3
    assert (own.wrong_source.count, own.wrong_source.of) == (1, 5)  # c2
    assert (own.false.count, own.false.of) == (1, 4)  # n1


def test_ranked_over_all_claims() -> None:
    # Falling: c1 right, c3 right, n1, c2 (wrong source), n4, c4 right, n2; c5 is never proposed.
    found = scored(0.8)
    assert found.average_precision == pytest.approx((1 / 1 + 2 / 2 + 3 / 6) / 5)
    assert found.recall_when_precise == pytest.approx(2 / 5)
    # F1 of the thresholds: 2/6, 4/7, 4/8, 4/9, 4/10, 6/11, 6/12; the second is best.
    assert found.best.claims_from == 0.9
    assert (found.best.found.count, found.best.false.count) == (2, 0)


def test_by_edit() -> None:
    shares = found_by_edit(judged(claims(), TRUTH), 0.7)
    reported = {edit: (share.count, share.of) for edit, share in shares.items()}
    assert reported == {"conflict": (1, 1), "crop": (1, 2), "jpeg": (1, 2)}


def test_special_cases() -> None:
    abouts = [About(method="m", claims_from=threshold, seconds=1.0) for threshold in (0.9, 0.5)]
    counts = [special_counts(claims(), TRUTH, about) for about in abouts]
    as_counts = [{case: (s.count, s.of) for case, s in some.items()} for some in counts]
    assert as_counts == [
        {"copies within the gallery": (0, 1), "copies among test images": (1, 1),
         "empty images claimed": (0, 1)},
        {"copies within the gallery": (1, 1), "copies among test images": (1, 1),
         "empty images claimed": (1, 1)},
    ]  # fmt: skip
    columns = ["Id", "relation", "decision"]
    leaks = pd.DataFrame(
        [("c4", "same_image", "abstain"), ("c1", "same_image", "abstain")], columns=columns
    )
    assert (labels_withheld(leaks, TRUTH).count, labels_withheld(leaks, TRUTH).of) == (1, 1)


def test_claims_of_equal_score_come_together() -> None:
    tied = [("c1", "a", 0.5), ("n1", "a", 0.5), ("c2", "b", 0.5), ("n3", "a", 0.5)]
    for rows in (tied, tied[::-1]):
        found = score(judged(claims(rows), TRUTH), 0.5)
        assert found.average_precision == pytest.approx(2 / 4 * 2 / 5)
        assert found.recall_when_precise == 0


def test_no_claims_find_nothing() -> None:
    found = score(judged(claims([]).astype({"score": float}), TRUTH), 0.5)
    assert (found.own.found.count, found.own.false.count, found.best.found.count) == (0, 0, 0)
    assert (found.average_precision, found.recall_when_precise) == (0, 0)


def test_best_matches_keep_ties_and_never_name_the_query() -> None:
    splits = {"t1": "test", "t2": "test", "g1": "train", "g2": "train", "g3": "external"}
    place = {image_id: n for n, image_id in enumerate(splits)}
    table = np.array(
        [
            [9.0, 0.3, 0.7, 0.7, 0.1],
            [0.3, 9.0, 0.2, 0.4, -np.inf],
            [0.7, 0.2, 9.0, 0.5, 0.6],
            [0.7, 0.4, 0.5, 9.0, 0.6],
            [0.1, 0.0, 0.6, 0.6, 9.0],
        ]
    )
    found = best_matches(
        splits, lambda q, m: table[np.ix_([place[i] for i in q], [place[i] for i in m])]
    )
    assert set(map(tuple, found.to_numpy())) == {
        ("t1", "g1", 0.7), ("t1", "g2", 0.7), ("t2", "g2", 0.4),
        ("t1", "t2", 0.3), ("t2", "t1", 0.3),
        ("g1", "g3", 0.6), ("g2", "g3", 0.6), ("g3", "g1", 0.6), ("g3", "g2", 0.6),
    }  # fmt: skip


def test_losses_tell_proposed_copies_from_those_that_no_candidate_showed() -> None:
    matches = pd.DataFrame(
        [
            ("c1", "a", "same_image"),
            ("c1", "b", ""),
            ("c2", "z", "same_image"),  # the source is not among the candidates
            ("c3", "c", "sibling"),  # it is, and stays below the threshold
            ("c4", "twin", "same_image"),
            ("n1", "a", "same_image"),
        ],
        columns=["query_id", "match_id", "relation"],
    )
    shares = losses_by_edit(matches, TRUTH)
    assert {where: (share.count, share.of) for where, share in shares.items()} == {
        ("conflict", "no candidate"): (0, 1), ("conflict", "below the threshold"): (0, 1),
        ("crop", "no candidate"): (1, 2), ("crop", "below the threshold"): (0, 2),
        ("jpeg", "no candidate"): (1, 2), ("jpeg", "below the threshold"): (1, 2),
    }  # fmt: skip
