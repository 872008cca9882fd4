from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.errors import DataError
from atlas.workflows.submit.check import check_submission

IDS = ("a", "b", "c", "d")


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        check_submission(path, IDS, 3)
    return list(caught.value.problems)


def test_a_good_one_passes(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("Id,Predicted\na,0\nb,2 1\nc,1\nd,0 1 2\n")
    check_submission(path, IDS, 3)


def test_everything_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    rows = ["b,0 0", "a,", "x,3", "a,1.5", "d,-1"]
    found = problems(tmp_path, "\n".join(["Id,Predicted,Note", *(f"{row},n" for row in rows)]))
    assert found == [
        "mine.csv, line 1: remove 'Note'; only Id and Predicted are allowed",
        "mine.csv, line 4: id 'x' is not in sample_submission.csv",
        "mine.csv, line 5: id a is already in mine.csv, line 3",
        "mine.csv: 1 of 4 ids have no row: c",
        "mine.csv, line 2: id b is in the place of a; rows must have the order of "
        "sample_submission.csv",
        "mine.csv, line 2: b: label 0 is given 2 times",
        "mine.csv, line 3: a: Predicted has no label",
        "mine.csv, line 4: x: label 3 is out of range 0\N{EN DASH}2",
        "mine.csv, line 5: a: Predicted '1.5' must be numbers separated by spaces",
        "mine.csv, line 6: d: label -1 is out of range 0\N{EN DASH}2",
    ]


def test_a_label_that_is_written_in_two_ways_is_one_label(tmp_path: Path) -> None:
    found = problems(tmp_path, "Id,Predicted\na,1 01\nb,1\nc,1\nd,1\n")
    assert found == ["mine.csv, line 2: a: label 1 is given 2 times"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; it needs the columns Id, Predicted"),
        ("Id,Predicted\n", "has no rows"),
        ("Id,Target\na,1\n", "no column Predicted"),
    ],
)
def test_what_is_no_table_of_answers(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(problems(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        check_submission(tmp_path / "mine.csv", IDS, 3)


@given(st.permutations(IDS))
def test_only_the_asked_order_passes(
    tmp_path_factory: pytest.TempPathFactory, order: list[str]
) -> None:
    text = "".join(["Id,Predicted\n", *(f"{image_id},1\n" for image_id in order)])
    folder = tmp_path_factory.mktemp("order")
    if tuple(order) == IDS:
        (folder / "mine.csv").write_text(text)
        check_submission(folder / "mine.csv", IDS, 3)
    else:
        assert ["must have the order" in said for said in problems(folder, text)] == [True]
