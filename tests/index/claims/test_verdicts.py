"""Claims after the verdicts of people."""

import numpy as np
import pandas as pd
import pytest

from atlas.dataset.artifacts import MATCH_COLUMNS, Matches
from atlas.dataset.verdicts import Judged
from index.claims.leaks import SiblingOf, find_leaks
from index.claims.review_certificate import random_order
from index.claims.verdicts import (
    accepted_references,
    certified_by_review,
    rejected_identities,
    with_verdicts,
)

LABELS = {"a": (1,), "b": (2,), "b2": (3,), "c": (4,)}
IDENTITIES = {"a": None, "b": "B", "b2": "B", "c": "C"}
SIBLINGS = {"q": SiblingOf(identity="B", score=3.0, features="alike")}


def matches(*rows: tuple[str, str, str, float]) -> Matches:
    """Pairs of query, match, claimed relation and confidence."""
    table = pd.DataFrame(rows, columns=["query_id", "match_id", "relation", "confidence"])
    return Matches(table=table.reindex(columns=list(MATCH_COLUMNS)).assign(
        query_split="test", match_split="train", similarity=0.5, registration_score=7.0,
    ))  # fmt: skip


def claims(found: Matches, said: dict[tuple[str, str], str], unproven: tuple[str, ...] = ()):
    judged = Judged(pairs=said)
    return find_leaks(
        with_verdicts(found, judged, IDENTITIES), labels=LABELS, channels=("green",),
        siblings=SIBLINGS, unproven=unproven, judged=judged,
    ).table.set_index("Id")  # fmt: skip


FOUND = matches(
    ("q", "a", "same_image", 0.9), ("q", "b", "sibling", 0.8), ("q", "b2", "sibling", 0.8),
    ("q", "c", "", np.nan), ("r", "a", "same_image", 0.95),
)  # fmt: skip


def test_without_verdicts_nothing_changes():
    assert with_verdicts(FOUND, Judged(), IDENTITIES) is FOUND


def test_a_rejected_copy_gives_way_to_the_next_claim():
    found = claims(FOUND, {("a", "q"): "different"})
    assert found.loc["q", ["match_id", "relation", "labels"]].tolist() == ["b", "sibling", "2"]
    assert found.at["r", "match_id"] == "a"  # another pair


def test_a_rejected_sibling_rejects_its_identity():
    said = {("a", "q"): "different", ("b", "q"): "different"}
    assert rejected_identities(Judged(pairs=said), IDENTITIES)["q"] == {"B"}
    assert list(claims(FOUND, said).index) == ["r"]


def test_an_accepted_pair_is_certain_and_transferred_although_nothing_is_proven():
    found = claims(FOUND, {("c", "q"): "same"}, unproven=("same_image", "sibling"))
    row = found.loc["q"]
    assert (row["match_id"], row["relation"], row["labels"]) == ("c", "same_image", "4")
    assert (row["confidence"], row["decision"]) == (1.0, "transfer")
    assert row["reason"].startswith("A reviewer has confirmed that the image is a copy of c.")
    assert found.at["r", "decision"] == "abstain"


def test_what_is_called_a_copy_can_be_a_sibling():
    found = claims(matches(("q", "b", "same_image", 0.9)), {("b", "q"): "sibling"})
    assert found.loc["q", ["relation", "decision"]].tolist() == ["sibling", "transfer"]
    assert "confirmed that the image is a sibling of b" in found.at["q", "reason"]


def test_a_claim_about_which_reviewers_are_unsure_abstains():
    row = claims(FOUND, {("a", "r"): "unsure"}).loc["r"]
    assert (row["match_id"], row["confidence"], row["decision"]) == ("a", 0.95, "abstain")
    assert row["reason"].endswith("not transferred: reviewers are unsure about this pair, or "
                                  "disagree.")  # fmt: skip


def test_accepted_pairs_become_candidates_of_their_queries_alone():
    judged = Judged(pairs={("a", "q"): "same", ("b", "q"): "sibling", ("c", "q"): "different",
                           ("a", "b"): "same"})  # fmt: skip
    assert accepted_references(judged, ["q", "r"], LABELS) == {"q": ["a", "b"]}
    assert accepted_references(judged, ["a", "b"], ["a", "b"]) == {"a": ["b"], "b": ["a"]}


@pytest.mark.parametrize("said", ["same", "different", "sibling", "unsure"])
def test_verdicts_on_other_images_change_nothing(said: str):
    judged = Judged(pairs={("x", "y"): said})
    pd.testing.assert_frame_equal(with_verdicts(FOUND, judged, IDENTITIES).table, FOUND.table)


def test_a_sample_of_verdicts_certifies_the_claims_of_one_relation():
    rows = [(f"q{n}", "a", "same_image", 0.9) for n in range(300)]
    rows += [("e", "a", "same_image", 1.0), ("s", "b", "sibling", 0.9)]
    by_scores = find_leaks(
        matches(*rows),
        labels=LABELS,
        channels=("green",),
        siblings={**SIBLINGS, "s": SIBLINGS["q"]},
    )
    order = random_order([(f"q{n}", "a") for n in range(300)])
    said = {pair[::-1]: "same" for pair in order[:100]} | {order[20][::-1]: "unsure"}
    found = certified_by_review(by_scores, "same_image", Judged(pairs=said), error_rate=0.0)
    assert (found.claims, found.looked_at, found.right) == (300, 100, 99)  # equal pixels are sure
    assert 270 < found.least_right < 300
    doubted = certified_by_review(by_scores, "same_image", Judged(pairs=said), error_rate=0.05)
    assert doubted.least_right < found.least_right
    assert certified_by_review(by_scores, "sibling", Judged(pairs=said), error_rate=0.0).right == 0
