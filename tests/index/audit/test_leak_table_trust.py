"""Which leak table to distrust: by hand, against a naive twin, and where the truth is planted."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.audit.leak_tables import LeakTable
from index.audit.trust import (
    DOUBTED,
    ROUNDS,
    Panel,
    Trust,
    class_differences,
    consensus_of_others,
    distrusted,
    merged_table,
    panel_of,
    sources_of,
    voices_of,
)
from tests.index.audit.leak_panels import naive_trust, row, table

TRUE, WRONG = "0 1", "5"
MANY = [f"i{n:03d}" for n in range(100)]


def each_for_itself(tables: list[LeakTable]) -> dict[str, int]:
    return {t.name: n for n, t in enumerate(tables)}


def planted(
    errors: Mapping[str, float], *, seed: int = 0
) -> tuple[dict[str, str], list[LeakTable]]:
    """The truth, and tables that give a label set of their own at these rates."""
    rng = np.random.default_rng(seed)
    truth = {f"i{n:03d}": str(rng.integers(0, 10)) for n in range(300)}
    tables = [
        table(name, {i: str(rng.integers(10, 28)) if rng.random() < rate else labels
                     for i, labels in truth.items()})
        for name, rate in errors.items()
    ]  # fmt: skip
    return truth, tables


def test_trust_counted_by_hand() -> None:
    tables = [
        table("a", {"x": "0", "y": "1", "z": "2", "only a": "7"}),
        table("b", {"x": "0", "y": "1", "z": "9"}),
        table("c", {"x": "0", "y": "8", "z": "2 | 9"}),
    ]
    panel = panel_of(tables, each_for_itself(tables))
    # Of y, a's two judges say different things with equal weight; of z, b and half of c outvote it.
    # c says two things of z and is not judged there. Of "only a" nobody else knows.
    assert set(panel.trust.values()) == {Trust(equal=1, of=2)}
    assert panel.trust["c"].weight == 0.5


def test_a_tie_is_broken_once_one_table_is_trusted_more() -> None:
    tables = [
        table("a", dict.fromkeys("pqrst", "0")),
        table("b", dict.fromkeys("pqrst", "0")),
        table("c", dict(zip("pqrst", "00123", strict=True))),
    ]
    panel = panel_of(tables, each_for_itself(tables))
    # First round: b and c are in a tie on r, s and t, so a has 2 of 2; c has 2 of 5 and from then
    # on the smaller weight, 3/7 beside 3/4.
    assert {name: (t.equal, t.of) for name, t in panel.trust.items()} == {
        "a": (5, 5), "b": (5, 5), "c": (2, 5),
    }  # fmt: skip


labels = st.sampled_from(["0", "1", "0 1", "2", "0 | 1", "2 | 3"])
content = st.dictionaries(st.sampled_from("abcdefgh"), labels, min_size=1)


@given(st.lists(content, min_size=1, max_size=5), st.lists(st.integers(0, 2), min_size=5))
def test_the_rounds_are_those_of_the_naive_twin(
    contents: list[dict[str, str]], numbers: list[int]
) -> None:
    tables = [table(f"t{n}", rows) for n, rows in enumerate(contents)]
    voices = {t.name: number for t, number in zip(tables, numbers, strict=False)}
    panel = panel_of(tables, voices)
    expected = naive_trust(tables, voices, ROUNDS)
    assert {name: (t.equal, t.of) for name, t in panel.trust.items()} == expected


@given(st.lists(content, min_size=2, max_size=4))
def test_a_copy_under_another_name_changes_nothing(contents: list[dict[str, str]]) -> None:
    tables = [table(f"t{n}", rows) for n, rows in enumerate(contents)]
    more = [*tables, table("copy", contents[0])]
    one, two = (panel_of(some, voices_of(some)) for some in (tables, more))
    assert {name: two.trust[name] for name in one.trust} == one.trust
    merged = [merged_table(panel, {})[["Id", "labels", "confidence"]] for panel in (one, two)]
    assert merged[0]["labels"].tolist() == merged[1]["labels"].tolist()
    np.testing.assert_allclose(merged[0]["confidence"], merged[1]["confidence"])


def test_the_wrong_table_is_found_and_the_vote_is_better_than_the_best() -> None:
    truth, tables = planted({"good": 0.08, "fair": 0.1, "so so": 0.12, "bad": 0.6})
    panel = panel_of(tables, voices_of(tables))
    assert len(set(panel.voices.values())) == 4
    assert distrusted(panel) == ("bad",)
    low, high = panel.trust["bad"].interval
    assert low < 0.4 < high
    merged = merged_table(panel, {}).set_index("Id")["labels"]
    right = {t.name: np.mean([t.answers[i] == {frozenset([int(truth[i])])} for i in truth])
             for t in tables}  # fmt: skip
    assert np.mean([merged[i] == truth[i] for i in truth]) > max(right.values())


def test_many_copies_of_a_wrong_table_do_not_outvote_the_others() -> None:
    _, tables = planted({"good": 0.05, "fair": 0.1, "so so": 0.1, "bad": 0.6})
    bad = {i: " ".join(map(str, r.labels)) for i, (r,) in tables[3].by_id.items()}
    crowd = [*tables, *(table(f"bad {n}", bad) for n in range(5))]
    panel = panel_of(crowd, voices_of(crowd))
    assert distrusted(panel) == ("bad", *(f"bad {n}" for n in range(5)))


def test_equal_tables_and_small_ones_that_differ() -> None:
    same = dict.fromkeys(MANY, TRUE)
    tables = [
        table("one", same),
        table("two", dict.fromkeys(MANY[:80], TRUE)),
        table("few", dict.fromkeys(MANY[:9], TRUE)),
        table("few again", dict.fromkeys(MANY[:9], TRUE)),
        table("off", {**same, **dict.fromkeys(MANY[:10], WRONG)}),
    ]
    assert list(voices_of(tables).values()) == [0, 0, 1, 1, 2]


def test_a_table_that_adds_candidates_is_a_voice_and_no_source() -> None:
    base = dict.fromkeys(MANY, TRUE)
    more = {**base, **dict.fromkeys(MANY[:40], f"{TRUE} | {WRONG}")}
    tables = [table("base", base), table("more", more), table("own", dict.fromkeys(MANY, "7"))]
    assert voices_of(tables) == {"base": 0, "more": 1, "own": 2}
    assert sources_of(tables) == {"base": 0, "more": 0, "own": 1}


def test_of_two_voices_nobody_knows_which_is_right() -> None:
    tables = [table("one", dict.fromkeys(MANY, TRUE)), table("two", dict.fromkeys(MANY, WRONG))]
    panel = panel_of(tables, voices_of(tables))
    assert {t.equal for t in panel.trust.values()} == {0}
    assert distrusted(panel) == ()


def test_a_lone_table_is_not_judged_and_counts_half() -> None:
    tables = [table("lone", {"a": "0", "b": "1"})]
    panel = panel_of(tables, voices_of(tables))
    assert panel.trust == {"lone": Trust(equal=0, of=0)}
    assert panel.trust["lone"].interval == (0.0, 1.0)
    assert merged_table(panel, {})["confidence"].tolist() == [0.5, 0.5]


def test_doubted_rows_are_not_judged_and_count_less() -> None:
    tables = [
        table("one", [row("a", "0", doubted=True), row("b", "1")]),
        table("two", {"a": "2", "b": "1"}),
    ]
    panel = panel_of(tables, each_for_itself(tables))
    assert (panel.trust["one"].equal, panel.trust["one"].of) == (1, 1)
    assert panel.weight(tables[0], "a") == panel.trust["one"].weight * DOUBTED
    assert panel.weight(tables[0], "b") == panel.trust["one"].weight


def test_what_a_table_adds_and_lacks() -> None:
    tables = [
        table("off", {"a": "0 5", "b": "5", "c": "1 2", "d": "3"}),
        table("one", {"a": "0", "b": "1", "c": "1", "d": "3"}),
        table("two", {"a": "0", "b": "1", "c": "1", "e": "3"}),
    ]
    panel = panel_of(tables, each_for_itself(tables))
    found = class_differences(tables[0], consensus_of_others(tables[0], panel))
    assert [tuple(line) for line in found.itertuples(index=False)] == [
        (5, 2, 0), (1, 0, 1), (2, 1, 0),
    ]  # fmt: skip


def test_a_small_table_is_not_accused_for_bad_luck() -> None:
    wrong = {"a": TRUE, "b": WRONG, "c": TRUE}
    tables = [
        table("small", wrong),
        *(table(name, dict.fromkeys("abcdefgh", TRUE)) for name in ("one", "two")),
    ]
    panel = Panel(
        tables=tuple(tables),
        voices=each_for_itself(tables),
        trust={"small": Trust(equal=2, of=3), "one": Trust(equal=8, of=8),
               "two": Trust(equal=8, of=8)},
    )  # fmt: skip
    assert distrusted(panel) == ()


@pytest.mark.parametrize(("equal", "of", "weight"), [(0, 0, 0.5), (8, 8, 0.9), (0, 8, 0.1)])
def test_weights_are_never_none_or_all(equal: int, of: int, weight: float) -> None:
    assert Trust(equal=equal, of=of).weight == pytest.approx(weight)
