"""The table of corrected labels."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from atlas.core.errors import DataError, UserError
from atlas.dataset.corrections import save_corrections
from atlas.dataset.manifest import read_labels, read_manifest, read_tables


@pytest.fixture
def data(write_atlas: Callable[..., Path]) -> Path:
    return write_atlas()


def test_corrected_labels_replace_those_of_the_tables_everywhere(data: Path) -> None:
    before, hash_before = read_labels(data), read_tables(data).table_hash
    table = (data / "train.csv").read_bytes()
    first = next(iter(before))
    assert save_corrections(data, {first: (1, 0)}, {first}) == data / "corrections.csv"
    assert read_labels(data) == {**before, first: (1, 0)}
    assert read_manifest(data).by_id[first].labels == (1, 0)
    assert read_tables(data).table_hash != hash_before
    assert (data / "train.csv").read_bytes() == table
    save_corrections(data, {}, {first})
    assert read_labels(data) == before


def test_rows_of_others_stay(data: Path) -> None:
    first, second, *_ = read_labels(data)
    (data / "corrections.csv").write_text(f"Id,Target\n{second},2\n")
    save_corrections(data, {first: (1,)}, {first})
    found = pd.read_csv(data / "corrections.csv", dtype=str)
    assert dict(zip(found["Id"], found["Target"], strict=True)) == {first: "1", second: "2"}


def test_every_problem_is_named_with_its_line(data: Path) -> None:
    first = next(iter(read_labels(data)))
    (data / "corrections.csv").write_text(
        f"Id,Target\nnobody,1\n{first},99\n{first},1\n{first},2\n"
    )
    with pytest.raises(DataError) as refused:
        read_labels(data)
    assert list(refused.value.problems) == [
        "corrections.csv, line 2: id 'nobody' is not a labelled image; remove the row",
        "corrections.csv, line 3: label 99 is out of range 0\N{EN DASH}2",
        f"corrections.csv, line 5: id {first} occurs twice; keep one row",
    ]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("Id,Label\n{second},2\n", "line 1"),
        ("Id,Target\n{second},2\n{second},1\n", "line 3: id '{second}' occurs twice"),
        ('Id,Target\n{second},"2\n', "corrections.csv"),
        ("Id,Target\n{second},2,more,cells\n", "line 2"),
    ],
)
def test_a_table_that_was_broken_by_hand_is_not_written_again(
    data: Path, broken: str, said: str
) -> None:
    first, second, *_ = read_labels(data)
    text = broken.format(second=second)
    (data / "corrections.csv").write_text(text)
    with pytest.raises(UserError) as refused:
        save_corrections(data, {first: (1,)}, {first})
    assert said.format(second=second) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (data / "corrections.csv").read_text() == text
