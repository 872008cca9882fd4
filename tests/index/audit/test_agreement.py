"""Leak tables beside one another, counted by hand."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.dataset.metrics import exact_interval
from index.audit.agreement import (
    RELATIONS,
    agreement_table,
    conflict_table,
    disputed_classes,
    relation_of,
    source_table,
    summary_table,
)
from index.audit.leak_tables import Answer
from tests.index.audit.leak_panels import row, table

ONE = table("one", {"a": "0 1", "b": "2", "c": "3", "d": "4 5", "e": "6 | 7", "f": "8"})
TWO = table("two", {"a": "1 0", "b": "2 9", "c": "9", "d": "4 9", "e": "7", "g": "0"})

answers: st.SearchStrategy[Answer] = st.frozensets(
    st.frozensets(st.integers(0, 3), min_size=1), min_size=1, max_size=3
)
held = st.dictionaries(st.sampled_from("abcdef"), answers, min_size=1)


def only(frame: pd.DataFrame) -> dict[str, object]:
    assert len(frame) == 1
    return dict(frame.iloc[0])


def test_a_pair_counted_by_hand() -> None:
    pair = only(agreement_table([ONE, TWO]))
    assert (pair["shared"], pair["equal"], pair["share"]) == (5, 1, 0.2)
    assert (pair["low"], pair["high"]) == exact_interval(1, 5)
    assert [pair[r] for r in RELATIONS] == [1, 0, 1, 1, 1, 1, 0]
    assert pair["held"] == 2  # a, and e, whose 7 is one of the first table's two
    assert pair["written_alike"] == 1  # e; the labels of a stand in another order


def test_tables_that_share_nothing_have_no_share() -> None:
    pair = only(agreement_table([table("x", {"a": "0"}), table("y", {"b": "0"})]))
    assert pair["shared"] == pair["equal"] == 0
    assert pd.isna(pair["share"])
    assert (pair["low"], pair["high"]) == (0, 1)


def test_matches_are_compared_by_field() -> None:
    one = table("one", [row("a", "0", match="9_1_A1_1", field="1_A1_1"),
                        row("b", "0", match="1_A1_2"), row("c", "0")])  # fmt: skip
    two = table("two", [row("a", "1", match="1_A1_1"), row("b", "0", match="1_A1_3"),
                        row("c", "0", match="1_A1_9")])  # fmt: skip
    pair = only(agreement_table([one, two]))
    assert (pair["both_matched"], pair["same_match"]) == (2, 1)


@given(held, held)
def test_relations_add_up_and_swap_with_the_tables(
    one: dict[str, Answer], two: dict[str, Answer]
) -> None:
    def made(name: str, content: dict[str, Answer]):
        return table(name, [row(i, " ".join(map(str, s))) for i, a in content.items() for s in a])

    first, second = made("first", one), made("second", two)
    there, back = only(agreement_table([first, second])), only(agreement_table([second, first]))
    assert sum(int(str(there[r])) for r in RELATIONS) == there["shared"] == len(one.keys() & two)
    assert (there["more"], there["fewer"]) == (back["fewer"], back["more"])
    for same in ("equal", "held", "written_alike", "overlapping", "disjoint", "one_of_several"):
        assert there[same] == back[same]


@given(answers, answers)
def test_a_relation_says_what_the_sets_are_to_each_other(own: Answer, other: Answer) -> None:
    relation = relation_of(own, other)
    assert (relation == "equal") == (own == other)
    if len(own) == len(other) == 1:
        (mine,), (theirs,) = own, other
        assert (relation in ("equal", "more")) == (mine >= theirs)
        assert (relation == "disjoint") == mine.isdisjoint(theirs)
    else:
        assert (relation == "none_of_several") == (not own & other)


def test_conflicts_within_and_between() -> None:
    reported = [tuple(line) for line in conflict_table([ONE, TWO]).itertuples(index=False)]
    assert reported == [
        ("b", "one", "2", "two", "2 9", "fewer"),
        ("c", "one", "3", "two", "9", "disjoint"),
        ("d", "one", "4 5", "two", "4 9", "overlapping"),
        ("e", "one", "6 | 7", "one", "", "several"),
        ("e", "one", "6 | 7", "two", "7", "one_of_several"),
    ]


def test_the_most_disputed_label_stands_first() -> None:
    found = disputed_classes([ONE, TWO], 10).set_index("label")
    assert found.index[0] == 9
    assert tuple(found.loc[9]) == (3, 3, 1.0)
    assert tuple(found.loc[0]) == (2, 0, 0.0)
    assert tuple(found.loc[4]) == (1, 0, 0.0)
    assert found.loc[[3, 5, 6, 7], "disputed"].tolist() == [1, 1, 1, 1]
    assert 2 in found.index
    assert len(found) == 10


def test_labels_beside_those_of_the_match() -> None:
    leaks = table("leaks", [
        row("a", "0 1", match="f1"), row("b", "0", match="f1"), row("c", "2", match="f2"),
        row("d", "2", match="unknown"), row("e", "", match="f1"), row("f", "5"),
    ])  # fmt: skip
    labelled = {"f1": frozenset({0, 1}), "f2": frozenset({3})}
    found = only(source_table([leaks, ONE], labelled))
    assert (found["rows"], found["known"], found["equal"]) == (4, 3, 1)
    assert (found["more"], found["fewer"], found["overlapping"], found["disjoint"]) == (0, 1, 0, 1)
    assert found["share"] == pytest.approx(1 / 3)


def test_a_summary_counts_rows_and_ids() -> None:
    leaks = table("leaks", [row("a", "0"), row("a", "0"), row("b", "1"), row("b", "2"),
                            row("c", ""), row("d", "1", doubted=True)])  # fmt: skip
    found = only(summary_table([leaks]))
    assert list(found.values()) == ["leaks", 6, 4, 2, 1, 1, 1, 0]
