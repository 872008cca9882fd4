"""The table of corrected labels."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from atlas.core.errors import DataError
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
