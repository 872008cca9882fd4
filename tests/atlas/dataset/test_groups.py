"""groups.csv: images that a split must keep together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.core.errors import DataError
from atlas.dataset.manifest import read_manifest
from atlas.dataset.splits.hold_out import grouped_ids

WriteAtlas = Callable[..., Path]


def test_groups_come_from_their_table_and_span_labelled_splits(
    write_atlas: WriteAtlas,
) -> None:
    data = write_atlas(external={"d": "1"})
    (data / "groups.csv").write_text("Id,Group\nd,copies\na,copies\n")
    manifest = read_manifest(data)
    assert [row.group for row in manifest.rows] == ["copies", None, None, "copies"]
    assert grouped_ids(manifest) == [("a", "d"), ("b",), ("c",)]


@pytest.mark.parametrize("text", [None, "Id,Group\n"])
def test_without_rows_there_are_no_groups(write_atlas: WriteAtlas, text: str | None) -> None:
    data = write_atlas()
    if text:
        (data / "groups.csv").write_text(text)
    assert all(row.group is None for row in read_manifest(data).rows)


def test_all_problems_of_groups_are_reported_at_once(write_atlas: WriteAtlas) -> None:
    data = write_atlas(test=["t"])
    (data / "groups.csv").write_text("Id,Group\na,x\nnobody,x\na,y\nb,\nt,x\n")
    with pytest.raises(DataError) as caught:
        read_manifest(data)
    assert caught.value.problems == (
        "groups.csv, line 3: id 'nobody' is in no other table; remove the row",
        "groups.csv, line 4: id a is already in groups.csv, line 2; keep one",
        "groups.csv, line 5: Group is empty; fill it in or remove the row",
    )


def test_a_table_of_groups_needs_its_columns(write_atlas: WriteAtlas) -> None:
    data = write_atlas()
    (data / "groups.csv").write_text("Id,group\na,x\n")
    with pytest.raises(DataError, match=r"groups\.csv, line 1: no column Group"):
        read_manifest(data)


def test_groups_change_the_hash_of_the_tables(write_atlas: WriteAtlas) -> None:
    data = write_atlas()
    without = read_manifest(data).table_hash
    (data / "groups.csv").write_text("Id,Group\n")
    assert read_manifest(data).table_hash == without
    (data / "groups.csv").write_text("Id,Group\na,x\nb,x\n")
    assert read_manifest(data).table_hash != without


def test_an_external_table_may_be_empty_but_train_may_not(write_atlas: WriteAtlas) -> None:
    data = write_atlas(external={})
    assert read_manifest(data).of("external").rows == ()
    (data / "train.csv").write_text("Id,Target\n")
    with pytest.raises(DataError, match=r"train\.csv has no rows"):
        read_manifest(data)
