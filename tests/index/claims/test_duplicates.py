"""Claims of pairs to components: worked by hand, and against a naive twin."""

from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.dataset.artifacts import ALIGNMENT_COLUMNS, MATCH_COLUMNS, Matches
from atlas.dataset.chosen_images import ChosenImage
from atlas.dataset.verdicts import Judged
from index.claims.duplicates import (
    Preference,
    choose_kept,
    claimed_groups,
    copy_table,
    find_duplicates,
    group_table,
    linked,
    tied,
)

IDS = ("t1", "t2", "t3", "e1", "e2", "e3", "e4")
SPLITS = {i: "train" if i[0] == "t" else "external" for i in IDS}
LABELS = dict.fromkeys(IDS, (1,)) | {"t1": (0, 2), "e1": (2, 0), "e2": (3,)}
ALIGNED = (None,) * len(ALIGNMENT_COLUMNS)


def matches_of(*pairs: tuple[str, str, float]) -> Matches:
    """query, match and registration score; from 8 on it is a claim."""
    rows = [
        (query, SPLITS[query], match, SPLITS[match], 0.9, registration_score,
         "same_image" if registration_score >= 8 else "", registration_score / 10 - 0.01, *ALIGNED)
        for query, match, registration_score in pairs
    ]  # fmt: skip
    return Matches(table=pd.DataFrame(rows, columns=list(MATCH_COLUMNS)))


def duplicates_of(*pairs: tuple[str, str, float]) -> pd.DataFrame:
    return find_duplicates(linked(matches_of(*pairs)), IDS, splits=SPLITS, labels=LABELS)


def test_the_first_image_of_a_component_is_the_original() -> None:
    found = duplicates_of(("e1", "t1", 9.0), ("t1", "e1", 9.5), ("t2", "e2", 8.5))
    assert found.to_dict("records") == [
        {"id": "e1", "split": "external", "duplicate_of": "t1", "similarity": 0.9,
         "registration_score": 9.5, "confidence": pytest.approx(0.94), "same_labels": "yes",
         "kept": "t1", "reason": "only train image"},
        {"id": "e2", "split": "external", "duplicate_of": "t2", "similarity": 0.9,
         "registration_score": 8.5, "confidence": pytest.approx(0.84), "same_labels": "no",
         "kept": "t2", "reason": "only train image"},
    ]  # fmt: skip


def test_what_is_examined_but_not_claimed_ties_nothing() -> None:
    assert duplicates_of(("e1", "t1", 7.9)).empty


def test_a_copy_of_a_copy_names_what_it_was_matched_with() -> None:
    found = duplicates_of(("e3", "e4", 9.0), ("e4", "t3", 9.0)).set_index("id")
    assert found["duplicate_of"].to_dict() == {"e4": "t3", "e3": "e4"}


def test_one_false_claim_does_not_chain_two_fields_together() -> None:
    """t1, e1, e2 are one field, t2, e3, e4 another; of five pairs between them one is claimed."""
    fields = [("t1", "e1", 9.7), ("t1", "e2", 9.6), ("e1", "e2", 9.5),
              ("t2", "e3", 9.7), ("t2", "e4", 9.6), ("e3", "e4", 9.5)]  # fmt: skip
    across = [("e2", "e3", 8.1), ("t1", "t2", 3.0), ("e1", "e3", 2.0), ("e2", "e4", 2.0),
              ("e2", "t2", 1.0)]  # fmt: skip
    found = linked(matches_of(*fields, *across))
    assert tied(IDS, found) == {
        "t1": "t1", "t2": "t2", "e1": "t1", "e2": "t1", "e3": "t2", "e4": "t2",
    }  # fmt: skip
    alone = linked(matches_of(*fields, ("e2", "e3", 8.1)))  # nothing speaks against it
    assert set(tied(IDS, alone).values()) == {"t1"}


def test_the_path_of_matches_leads_to_the_image_that_is_kept() -> None:
    """e3 was matched with e4 and e4 with t3; the largest of two train images is kept."""
    matches = matches_of(("e3", "e4", 9.0), ("e4", "t3", 9.0), ("t2", "e4", 8.5))
    larger = Preference(adjective="highest resolution", values={"t2": 4.0, "t3": 9.0, "e3": 99.0})
    found = find_duplicates(linked(matches), IDS, splits=SPLITS, labels=LABELS, preference=larger)
    assert found.set_index("id")["duplicate_of"].to_dict() == {"t2": "e4", "e4": "t3", "e3": "e4"}
    assert set(found["kept"]) == {"t3"}
    assert set(found["reason"]) == {"highest resolution (9) of 2 train images"}


@pytest.mark.parametrize(
    ("values", "kept", "reason"),
    [
        ({}, "t1", "first of 3 images"),
        ({"t1": 1, "t2": 3, "t3": 2}, "t2", "most labels (3) of 3 images"),
        ({"t1": 1, "t2": 3, "t3": 3}, "t2", "first of 2 with the most labels (3) of 3 images"),
    ],
)
def test_a_preference_decides_and_of_equal_ones_the_first(values, kept, reason) -> None:
    preference = Preference(adjective="most labels", values=values) if values else Preference()
    group = dict.fromkeys(["t1", "t2", "t3"], "t1")
    assert choose_kept(group, splits=SPLITS, preference=preference) == dict.fromkeys(
        group, (kept, reason)
    )


def test_no_preference_replaces_a_parent_or_a_train_image() -> None:
    """t2 was made from t1, and e1 is an external copy of both."""
    preference = Preference(adjective="sharpest", values={"t1": 1, "t2": 2, "e1": 3})
    group = dict.fromkeys(["t1", "t2", "e1"], "t1")
    found = choose_kept(group, splits=SPLITS, parents={"t2": "t1"}, preference=preference)
    assert set(found.values()) == {("t1", "only train original")}
    without_train = dict.fromkeys(["e1", "e2"], "e1")
    found = choose_kept(without_train, splits=SPLITS)
    assert set(found.values()) == {("e1", "first of 2 images")}


def test_people_choose_before_the_policy_unless_they_disagree() -> None:
    """e1 is chosen although t1 is a train image; t2 was made from t1 and cannot replace it."""
    preference = Preference(adjective="sharpest", values={"t1": 1, "t2": 2, "e1": 3})
    group, parents = dict.fromkeys(["t1", "t2", "e1"], "t1"), {"t2": "t1"}

    def kept(image_id: str, *reviewers: str) -> tuple[str, str]:
        chosen = {"t1": ChosenImage(image_id=image_id, reviewers=reviewers)}
        found = choose_kept(
            group, splits=SPLITS, parents=parents, preference=preference, chosen=chosen
        )
        assert len(set(found.values())) == 1
        return found["t1"]

    assert kept("e1", "Ann") == ("e1", "chosen by Ann")
    assert kept("e1", "Ann", "Bo", "Cy") == ("e1", "chosen by Ann, Bo and Cy")
    assert kept("", "Ann", "Bo") == ("t1", "only train original; Ann and Bo disagree")
    assert kept("t2", "Ann") == (
        "t1", "only train original; t2, chosen by Ann, was made from a copy of it"
    )  # fmt: skip


def test_every_image_of_a_group_is_listed_with_the_choice_of_the_policy() -> None:
    groups = {"t1": "t1", "t2": "t2", "e1": "t1", "e2": "t2"}
    preference = Preference(
        adjective="highest sharpness", values={"t1": 0.5, "t2": 0.25, "e1": 0.75, "e2": 1},
        quantity="sharpness",
    )  # fmt: skip
    kept = choose_kept(groups, splits=SPLITS, preference=preference)
    assert copy_table(kept, groups, preference).to_dict("split")["data"] == [
        ["t1", "t1", "t1", "only train image", "sharpness 0.5"],
        ["t2", "t2", "t2", "only train image", "sharpness 0.25"],
        ["e1", "t1", "t1", "only train image", "sharpness 0.75"],
        ["e2", "t2", "t2", "only train image", "sharpness 1"],
    ]
    nothing = copy_table(choose_kept(groups, splits=SPLITS), groups, Preference())
    assert set(nothing["measured"]) == {""}


def test_ties_reach_as_far_as_they_go() -> None:
    groups = tied(IDS, [("e1", "t2"), ("e2", "e1"), ("e4", "e3")])
    assert groups == {"t2": "t2", "e1": "t2", "e2": "t2", "e3": "e3", "e4": "e3"}
    assert group_table(groups).columns.to_list() == ["Id", "Group"]
    assert tied(IDS, []) == {}


def naive_components(ids: Sequence[str], pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Each id's first mate, by joining sets until nothing changes."""
    sets = {i: {i} for i in ids}
    for a, b in pairs:
        joined = sets[a] | sets[b]
        for i in joined:
            sets[i] = joined
    return {i: min(sets[i], key=ids.index) for i in ids if len(sets[i]) > 1}


@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)), max_size=8))
def test_components_are_those_of_the_naive_twin(pairs: list[tuple[str, str]]) -> None:
    expected = naive_components(IDS, pairs)
    assert tied(IDS, pairs) == expected
    found = duplicates_of(*((a, b, 9.0) for a, b in pairs if a != b))
    assert list(found["id"]) == [i for i in IDS if i in expected and expected[i] != i]
    assert all(
        expected[i] == expected[j] for i, j in zip(found["id"], found["duplicate_of"], strict=True)
    )


@given(
    st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)), max_size=8),
    st.dictionaries(st.sampled_from(IDS), st.sampled_from(IDS)),
    st.fixed_dictionaries({i: st.integers(0, 3) for i in IDS}),
)
def test_one_image_of_each_group_is_kept(pairs, parents, values) -> None:
    groups = tied(IDS, pairs)
    preference = Preference(adjective="newest", values=values)
    chosen = choose_kept(groups, splits=SPLITS, parents=parents, preference=preference)
    assert set(chosen) == set(groups)
    assert len({kept for kept, _ in chosen.values()}) == len(set(groups.values()))
    assert all(groups[kept] == groups[i] for i, (kept, _) in chosen.items())
    chosen = choose_kept(groups, splits=SPLITS, preference=preference)
    for i, (kept, _) in chosen.items():
        assert SPLITS[kept] == "train" or SPLITS[i] == "external"
        if SPLITS[kept] == SPLITS[i]:
            assert (values[kept], -IDS.index(kept)) >= (values[i], -IDS.index(i))


def test_people_part_a_group_that_scores_tie_and_tie_what_scores_part() -> None:
    found = matches_of(("e1", "e2", 9.0), ("e2", "e3", 8.0))
    assert claimed_groups(found, IDS) == dict.fromkeys(("e1", "e2", "e3"), "e1")
    apart = Judged(pairs={("e1", "e3"): "different"})
    assert claimed_groups(found, IDS, apart) == {"e1": "e1", "e2": "e1"}
    sure = Judged(pairs={("e1", "e3"): "different", ("e2", "e3"): "same"})
    assert claimed_groups(found, IDS, sure) == {"e2": "e2", "e3": "e2"}
