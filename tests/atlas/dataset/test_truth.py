from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.core.errors import DataError
from atlas.dataset.manifest import read_manifest
from atlas.dataset.truth import read_truth


@pytest.fixture
def read(write_atlas: Callable[..., Path]):
    data = write_atlas(test=("t1", "t2"))
    manifest = read_manifest(data)

    def read_text(text: str | None):
        if text is not None:
            (data / "truth.csv").write_text(text)
        return read_truth(data, manifest)

    return read_text


def test_without_the_file_nothing_is_known(read) -> None:
    assert read(None) is None


def test_labels_alone_are_enough(read) -> None:
    truth = read("Id,Target\nt2,1 2\n")
    assert truth.to_dict("list") == {"Id": ["t2"], "Target": ["1 2"]}


def test_every_wrong_row_is_told_at_once(read) -> None:
    with pytest.raises(DataError) as told:
        read("Id,Target\na,0\nt1,1\nt1,1\nt2,one\nt2,\nt2,3\n")
    assert len(told.value.problems) == 1 + 1 + 1 + 2 + 2
    assert "truth.csv: a is no test image" in str(told.value)
    assert "truth.csv: t1 stands there twice" in str(told.value)
    assert "t2: Target 'one' is not labels of the atlas" in str(told.value)


def test_a_column_that_is_missing_is_named(read) -> None:
    with pytest.raises(DataError, match="no column Target"):
        read("Id,relation\nt1,novel\n")
