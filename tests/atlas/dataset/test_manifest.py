"""A data folder is read completely, or refused with a list of all its problems."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atlas.core.errors import SHOWN_PROBLEMS, DataError
from atlas.dataset import headers
from atlas.dataset.labels import format_labels, parse_labels
from atlas.dataset.manifest import Manifest, read_manifest, read_test_ids, require_test_ids

WriteAtlas = Callable[..., Path]


def problems_of(data: Path) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        read_manifest(data)
    return caught.value.problems


def assert_problem(data: Path, *parts: str) -> str:
    """Check that a folder has one problem, whose text contains all parts."""
    problems = problems_of(data)
    assert len(problems) == 1, problems
    for part in parts:
        assert part in problems[0]
    return problems[0]


def test_a_valid_folder_gives_its_rows(write_atlas: WriteAtlas) -> None:
    data = write_atlas(
        train={"b": "2 0", "a": "1"},
        external={"7_8_A1_1": "1"},
        test=["t"],
        identities={"a": "x", "b": "x", "7_8_A1_1": "y"},
        channels=("red", "blue"),
        size=(12, 20),
    )
    manifest = read_manifest(data)
    assert manifest.ids == ("b", "a", "7_8_A1_1", "t")
    assert [row.split for row in manifest.rows] == ["train", "train", "external", "test"]
    assert [row.labels for row in manifest.rows] == [(2, 0), (1,), (1,), None]
    assert [row.identity for row in manifest.rows] == ["x", "x", "y", None]
    assert (manifest.rows[0].width_px, manifest.rows[0].height_px) == (20, 12)
    assert [file.name for file in manifest.by_id["t"].files] == ["t_red.png", "t_blue.png"]
    assert manifest.repeated_identities == {"x"}
    assert read_test_ids(data) == ("t",)


def test_without_a_submission_table_there_is_no_test(write_atlas: WriteAtlas) -> None:
    data = write_atlas()
    assert read_manifest(data).of("test").rows == ()
    assert read_test_ids(data) == ()
    with pytest.raises(DataError, match="names no test images"):
        require_test_ids(data)


def test_a_folder_that_is_missing_is_not_one_without_test_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder does not exist"):
        require_test_ids(tmp_path / "nowhere")


def test_all_problems_are_reported_at_once(write_atlas: WriteAtlas) -> None:
    ids = (
        "missing",
        "text",
        "truncated",
        "sizes",
        "empty",
        "gone",
        "float",
        "pages",
        "both",
        "ok",
    )
    data = write_atlas(
        train=dict.fromkeys(ids, "0"), external={"e": "1"}, test=["t"], channels=("red", "green")
    )
    train = data / "train"
    (train / "missing_green.png").unlink()
    (train / "text_red.png").write_text("not an image")
    truncated = train / "truncated_green.png"
    truncated.write_bytes(truncated.read_bytes()[:-40])
    gray = Image.fromarray(np.zeros((16, 16), np.uint8))
    Image.fromarray(np.zeros((8, 16), np.uint8)).save(train / "sizes_green.png")
    (train / "empty_red.png").write_bytes(b"")
    (train / "gone_red.png").unlink()
    (train / "gone_red.png").symlink_to("nothing.png")
    (train / "float_red.png").unlink()
    gray.convert("F").save(train / "float_red.tif")
    (train / "pages_red.png").unlink()
    gray.save(train / "pages_red.tif", save_all=True, append_images=[gray])
    gray.save(train / "both_red.jpg")
    with (data / "train.csv").open("a") as table:
        table.write("ok,0\n\n../x,0\nunknown,0 7\nword,one\nnone,\n,1\ncommas,0,1\n")
    (data / "external.csv").write_text("Id,Target\ne,-1\nok,1\n")
    (data / "sample_submission.csv").write_text("Id,Predicted\nt,0\nok,0\nt,0\n")

    problems = problems_of(data)

    expected = (
        "train.csv, line 2: train/missing_green.png is missing (channel green)",
        "train.csv, line 3: train/text_red.png is not a readable",
        "train.csv, line 4: train/truncated_green.png is truncated",
        "train.csv, line 5: train/sizes_red.png: channels of different sizes: "
        "sizes_red.png 16x16, sizes_green.png 16x8",
        "train.csv, line 6: train/empty_red.png is empty",
        "train.csv, line 7: train/gone_red.png is a link to nothing.png, which does not",
        "train.csv, line 8: train/float_red.tif has float32 pixels of unknown range",
        "train.csv, line 9: train/pages_red.tif has 2 pages",
        "train.csv, line 10: train/both_red.jpg and both_red.png both exist",
        "train.csv, line 12: id ok is already in train.csv, line 11",
        "train.csv, line 14: id '../x' cannot be part of a file name",
        "train.csv, line 15: label 7 is out of range 0\N{EN DASH}2",
        "train.csv, line 16: Target 'one' must be numbers",
        "train.csv, line 17: Target has no label",
        "train.csv, line 18: Id is empty",
        "train.csv, line 19: more cells than columns",
        "external.csv, line 2: label -1 is out of range 0\N{EN DASH}2",
        "external.csv, line 3: id ok is already in train.csv, line 11",
        "sample_submission.csv, line 3: id ok is already in train.csv, line 11",
        "sample_submission.csv, line 4: id t is already in sample_submission.csv, line 2",
    )
    for text in expected:
        assert any(problem.startswith(text) for problem in problems), (text, problems)


def test_a_missing_folder_is_one_problem(write_atlas: WriteAtlas) -> None:
    data = write_atlas(test=["t", "u"])
    (data / "test" / "t.png").unlink()
    (data / "test" / "u.png").unlink()
    (data / "test").rmdir()
    assert_problem(data, "folder test/ is missing")


def test_a_missing_data_folder_is_one_problem(tmp_path: Path) -> None:
    assert_problem(tmp_path / "nowhere", "folder does not exist")


def test_a_missing_table_is_one_problem(write_atlas: WriteAtlas) -> None:
    data = write_atlas()
    (data / "train.csv").unlink()
    assert_problem(data, "train.csv is missing; it needs the columns Id, Target")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "train.csv is empty; it needs the columns Id, Target"),
        (" \n\n", "train.csv is empty"),
        ("Id,Target\n", "train.csv has no rows"),
        ("Id|Target\na|0\n", "line 1: no column Id, Target in 'Id|Target'"),
        ("id,Target\na,0\n", "line 1: no column Id in 'id', 'Target'"),
        ('Id,Target\nb,0\na,"0\n', "line 3: unexpected end of data; check the quotes"),
        ("Id,Target,Target\na,0,1\n", "line 1: column Target is given 2 times"),
        ("Id,Target,identity\na,0,x\n", "line 1: column identity must be written Identity"),
        ("Id,Target\na,0\0\n", "line 2: the text has a NUL character"),
        ("Id,Target\na," + "0" * 200_000, "line 2: field larger than field limit"),
    ],
)
def test_files_that_are_not_tables_are_one_problem(
    write_atlas: WriteAtlas, text: str, said: str
) -> None:
    data = write_atlas()
    (data / "train.csv").write_text(text)
    assert_problem(data, "train.csv", said)


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("latin-1", "line 3: not UTF-8"),
        ("utf-16-le", "line 3: not UTF-8"),
        ("utf-32", "NUL character"),
    ],
)
def test_a_table_in_another_encoding_names_the_line(
    write_atlas: WriteAtlas, encoding: str, said: str
) -> None:
    data = write_atlas()
    (data / "train.csv").write_bytes("Id,Target\na,0\né,0\n".encode(encoding))
    assert_problem(data, said)


def test_tables_written_by_spreadsheets_are_read(write_atlas: WriteAtlas) -> None:
    data = write_atlas(train={"a": "0", "b 1": "0"}, test=["t"])
    (data / "train.csv").write_bytes(
        b'\xef\xbb\xbfTarget,Id,Note\r\n\r\n" 1  2 1 ", a ,x\r\n0,b 1,\r\n\r\n'
    )
    (data / "sample_submission.csv").write_text("Id,Predicted,Target\nt,,1\n")
    manifest = read_manifest(data)
    assert manifest.by_id["a"].labels == (1, 2)
    assert manifest.by_id["b 1"].labels == (0,)
    assert manifest.by_id["t"].labels is None


def test_many_problems_are_counted_and_not_all_printed(write_atlas: WriteAtlas) -> None:
    data = write_atlas()
    rows = "".join(f"x{n},0\n" for n in range(SHOWN_PROBLEMS + 5))
    (data / "train.csv").write_text("Id,Target\n" + rows)
    with pytest.raises(DataError, match=r"and 5 more") as caught:
        read_manifest(data)
    assert len(caught.value.problems) == SHOWN_PROBLEMS + 5


def test_headers_of_many_files_are_checked_by_processes_with_the_same_result(
    write_atlas: WriteAtlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_atlas(train={f"x{n}": "0" for n in range(9)})
    few = read_manifest(data)
    broken = data / "train" / "x4.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    problem = assert_problem(data, "x4.png is truncated")
    monkeypatch.setattr(headers, "FILES_WORTH_PROCESSES", 1)
    monkeypatch.setattr(headers, "ROWS_A_TASK", 2)
    assert problems_of(data) == (problem,)
    broken.write_bytes((data / "train" / "x3.png").read_bytes())
    assert read_manifest(data) == few


def test_8_bit_images_below_a_16_bit_maximum_are_refused(write_atlas: WriteAtlas) -> None:
    data = write_atlas(train={"a": "0"})
    with (data / "atlas.toml").open("a") as toml:
        toml.write("max_value = 4095\n")
    assert_problem(data, "a.png has 8 bits", "4095")


def test_the_table_hash_depends_on_the_tables_alone(write_atlas: WriteAtlas) -> None:
    one, two = write_atlas("one", seed=1), write_atlas("two", seed=2)
    assert read_manifest(one).table_hash == read_manifest(two).table_hash
    other = write_atlas("other", train={"a": "0", "b": "1", "c": "2"})
    assert read_manifest(one).table_hash != read_manifest(other).table_hash


def test_splits_keep_the_order(write_atlas: WriteAtlas) -> None:
    manifest = read_manifest(write_atlas(external={"e": "0"}, test=["t"]))
    assert manifest.labelled.ids == ("a", "b", "c", "e")
    assert manifest.of("test").ids == ("t",)
    assert Manifest(spec=manifest.spec, rows=()).repeated_identities == frozenset()


@given(st.lists(st.integers(0, 999), unique=True).map(tuple))
def test_labels_survive_formatting_and_parsing(labels: tuple[int, ...]) -> None:
    assert parse_labels(format_labels(labels)) == labels


@pytest.mark.parametrize("text", ["1_0", "+1", "1.0", "a", "1,2", "\u0661", "9" * 5000])
def test_other_texts_are_not_labels(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_labels(text)


@pytest.mark.real
@pytest.mark.parametrize(
    ("bench", "train", "test"),
    [("hpa_tiles", 31, 100), ("hpa_single", 150, 146), ("hep2", 5460, 1337)],
)
def test_real_atlases_have_no_problems(shared: Path, bench: str, train: int, test: int) -> None:
    manifest = read_manifest(shared / "benches" / bench)
    assert len(manifest.labelled.rows) == train
    assert len(manifest.of("test").rows) == test
