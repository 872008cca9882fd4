from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.core.errors import DataError
from atlas.dataset.truth import read_truth


@pytest.fixture
def read(write_atlas: Callable[..., Path]):
    data = write_atlas(test=("t1", "t2"))

    def read_text(text: str | None):
        if text is not None:
            (data / "truth.csv").write_text(text)
        return read_truth(data)

    return read_text


def test_without_the_file_there_is_no_truth(read) -> None:
    assert read(None) is None


def test_labels_alone_are_enough(read) -> None:
    truth = read("Id,Target\nt2,1 2\n")
    assert truth.to_dict("list") == {"Id": ["t2"], "Target": ["1 2"]}


def test_every_wrong_row_is_reported_at_once(read) -> None:
    with pytest.raises(DataError) as reported:
        read("Id,Target\na,0\nt1,1\nt1,1\nt2,one\nt2,\nt2,3\n")
    assert len(reported.value.problems) == 1 + 1 + 1 + 2 + 2
    assert "truth.csv, line 2: a is not a test image" in str(reported.value)
    assert "truth.csv, line 4: t1 is already in truth.csv, line 3" in str(reported.value)
    assert "t2: Target 'one' must be numbers separated by spaces" in str(reported.value)


def test_a_relation_to_a_labelled_image_needs_a_source(read) -> None:
    assert read("Id,Target,relation,source\nt1,0,same_image,a\nt2,0,novel,\n") is not None
    with pytest.raises(
        DataError, match="line 2: t1: source is empty; relation same_image needs one"
    ):
        read("Id,Target,relation\nt1,0,same_image\nt2,0,sibling\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; it needs the columns Id, Target"),
        ("Id,Target\n", "truth.csv has no rows"),
        ("Id,Target\nt1,0,1\n", "line 2: more cells than columns"),
        ('Id,Target\nt1,"0\n', "unexpected end of data"),
    ],
)
def test_a_file_that_is_not_a_table_is_reported_in_one_line(read, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(text)


def test_a_missing_column_is_named(read) -> None:
    with pytest.raises(DataError, match="no column Target"):
        read("Id,relation\nt1,novel\n")
