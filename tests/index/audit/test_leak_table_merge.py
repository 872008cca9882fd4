"""One table of several: whose labels stand, who says so, and how sure that is."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.audit.leak_tables import LeakTable
from index.audit.trust import MERGED_COLUMNS, Panel, Trust, merged_table
from tests.index.audit.leak_panels import row, table

HIGH, LOW = Trust(equal=88, of=98), Trust(equal=28, of=98)  # weights .89 and .29


def panel(tables: list[LeakTable], trust: list[Trust]) -> Panel:
    """Each table a voice."""
    names = [t.name for t in tables]
    return Panel(
        tables=tuple(tables),
        voices={name: n for n, name in enumerate(names)},
        trust=dict(zip(names, trust, strict=True)),
    )


def line_of(merged: pd.DataFrame, image_id: str) -> dict[str, object]:
    return dict(merged.set_index("Id").loc[image_id])


def test_the_trusted_table_wins_and_both_are_named() -> None:
    tables = [table("bad", {"a": "5", "b": "1"}), table("good", {"a": "1 0", "b": "1"})]
    merged = merged_table(panel(tables, [LOW, HIGH]), {})
    assert list(merged.columns) == list(MERGED_COLUMNS)
    a, b = line_of(merged, "a"), line_of(merged, "b")
    assert (a["labels"], a["tables"], a["disagree"]) == ("0 1", "good", "bad")
    assert a["other_labels"] == "bad: 5"
    assert a["confidence"] == pytest.approx(0.89 * 0.89 / (0.89 + 0.29))
    assert (b["labels"], b["tables"], b["disagree"]) == ("1", "bad good", "")
    assert b["confidence"] == pytest.approx(0.89)


def test_two_tables_outvote_one() -> None:
    tables = [table(name, {"a": labels}) for name, labels in zip("xyz", "774", strict=True)]
    merged = merged_table(panel(tables, [Trust(equal=0, of=0)] * 3), {})
    assert line_of(merged, "a")["labels"] == "7"
    assert line_of(merged, "a")["confidence"] == pytest.approx(0.5 * 2 / 3)


def test_candidates_share_the_vote_and_stand_on_both_sides() -> None:
    tables = [table("several", {"a": "3 | 4"}), table("one", {"a": "4"})]
    a = line_of(merged_table(panel(tables, [HIGH, HIGH]), {}), "a")
    assert (a["labels"], a["tables"], a["disagree"]) == ("4", "several one", "several")
    assert a["other_labels"] == "several: 3"
    assert a["confidence"] == pytest.approx(0.89 * 0.75)


def test_in_a_tie_the_table_given_first_stands() -> None:
    one, two = table("one", {"a": "9"}), table("two", {"a": "2"})
    for tables, labels in (([one, two], "9"), ([two, one], "2")):
        assert line_of(merged_table(panel(tables, [HIGH, HIGH]), {}), "a")["labels"] == labels


def test_doubted_rows_say_so_and_are_worth_half() -> None:
    tables = [table("one", [row("a", "9", doubted=True)]), table("two", {"b": "2"})]
    a = line_of(merged_table(panel(tables, [HIGH, LOW]), {}), "a")
    assert (a["questioned_by"], a["labels"]) == ("one", "9")
    assert a["confidence"] == pytest.approx(0.89 / 2)


def test_matches_with_their_labels_and_distances() -> None:
    full, short = "ENSG1_44_55_A1_1", "55_A1_1"
    tables = [
        table("one", [row("a", "0", match=short, field=short, distances=(("d", "2.0"),))]),
        table("two", [row("a", "0", match=full, field=short, distances=(("R", "4"), ("G", "0")))]),
        table("off", [row("a", "0", match="66_A1_1", distances=(("d", "9"),)), row("b", "1")]),
    ]
    merged = merged_table(panel(tables, [HIGH, HIGH, LOW]), {short: frozenset({3, 0})})
    a, b = line_of(merged, "a"), line_of(merged, "b")
    assert (a["match_id"], a["other_matches"], a["match_labels"]) == (full, "66_A1_1", "0 3")
    assert a["distances"] == "one: d 2.0; two: R 4, G 0"
    assert (b["match_id"], b["match_labels"], b["other_matches"], b["distances"]) == ("",) * 4


def test_an_image_without_labels_anywhere_has_no_row() -> None:
    tables = [table("one", [row("a", ""), row("b", "1")])]
    assert merged_table(panel(tables, [HIGH]), {})["Id"].tolist() == ["b"]


trusts = st.builds(lambda equal, more: Trust(equal=equal, of=equal + more),
                   st.integers(0, 50), st.integers(0, 50))  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("012"), trusts), min_size=1, max_size=5), trusts)
def test_support_never_lowers_and_dissent_never_raises(
    said: list[tuple[str, Trust]], another: Trust
) -> None:
    def merged(votes: list[tuple[str, Trust]]) -> dict[str, object]:
        tables = [table(f"t{n}", {"a": labels}) for n, (labels, _) in enumerate(votes)]
        return line_of(merged_table(panel(tables, [trust for _, trust in votes]), {}), "a")

    before = merged(said)
    after = merged([*said, (str(before["labels"]), another)])
    assert after["labels"] == before["labels"]
    assert float(str(after["confidence"])) >= float(str(before["confidence"])) - 1e-12
    against = merged([*said, ("3", another)])
    if against["labels"] == before["labels"]:
        assert float(str(against["confidence"])) < float(str(before["confidence"]))
