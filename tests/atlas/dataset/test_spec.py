"""`atlas.toml`: its entries, its defaults, and the list of all its mistakes."""

from pathlib import Path

import pytest

from atlas.core.errors import DataError
from atlas.dataset.spec import HPA_2018, read_spec, spec_text

SOUND = {
    "channels": '["a", "b"]',
    "file_pattern": '"{id}_{channel}.tif"',
    "labels": '["one"]',
}


def write(folder: Path, **keys: str) -> Path:
    (folder / "atlas.toml").write_text("".join(f"{k} = {v}\n" for k, v in keys.items()))
    return folder


def problems_of(folder: Path) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        read_spec(folder)
    return caught.value.problems


def test_a_folder_without_the_file_is_hpa(tmp_path: Path) -> None:
    assert read_spec(tmp_path) == HPA_2018
    assert len(HPA_2018.labels) == 28
    assert HPA_2018.file_stem("x", "red") == "x_red"


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, **SOUND, max_value="4095"))
    assert (spec.name, spec.channels, spec.labels) == (tmp_path.name, ("a", "b"), ("one",))
    assert spec.max_value == 4095
    assert spec.file_stem("1.2", "a") == "1.2_a"


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    write(
        tmp_path, colour='"x"', name="3", channels='["a", "a"]', labels="[]", max_value="true",
    )  # fmt: skip
    said = "\n".join(problems_of(tmp_path))
    for part in ("'colour' is unknown", "name must", "name twice: a", "labels must", "max_value"):
        assert part in said


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("channels", '"red"', "channels must be a list"),
        ("channels", "[1]", "channels must hold names"),
        ("labels", '["a", ""]', "labels must hold names"),
        ("max_value", "0", "from 1 to 65535 (got 0)"),
        ("max_value", "65536", "from 1 to 65535 (got 65536)"),
        ("file_pattern", "3", "must be a file name"),
        ("file_pattern", '"{id"', "is not a file name"),
        ("file_pattern", '"{id.x}_{channel}.png"', "is not a file name"),
        ("file_pattern", '"{id}_{plate}_{channel}.png"', "is not a file name"),
        ("file_pattern", '"{id}_{}.png"', "is not a file name"),
        ("file_pattern", '"{id[0]}_{channel}.png"', "is not a file name"),
        ("file_pattern", '"{id.__class__}_{channel}.png"', "is not a file name"),
        ("file_pattern", '"{id:>1000000000}_{channel}.png"', "without : or !"),
        ("file_pattern", '"{id:.3}_{channel}.png"', "without : or !"),
        ("file_pattern", '"{id!r}_{channel}.png"', "without : or !"),
        ("file_pattern", '"{id}_{id}_{channel}.png"', "must contain {id} once"),
        ("file_pattern", '"../{id}_{channel}.png"', "must not name a folder"),
        ("file_pattern", "'..\\{id}_{channel}.png'", "must not name a folder"),
        ("file_pattern", '"{id}\\n_{channel}.png"', "control character"),
        ("channels", '["a/b", "c"]', "must not name a folder"),
        ("channels", '["a", "b\\u001b[31m"]', r"control character in 'b\x1b[31m'"),
        ("labels", '["=1+1"]', "is a formula"),
        ("labels", '["a", "a"]', "same name twice"),
        ("name", '"\\u202e"', "control character"),
        ("lables", '["a"]', "'lables' is unknown; did you mean labels?"),
        ("Channels", '["a"]', "'Channels' is unknown; did you mean channels?"),
        ("file_pattern", '"{channel}.png"', "must contain {id}"),
        ("file_pattern", '"{id}.png"', "must contain {channel}"),
        ("file_pattern", '"{id}/{channel}.png"', "must not name a folder"),
        ("file_pattern", '"{id}_{channel}.xyz"', "must end in"),
        ("file_pattern", '"{id}_{channel}"', "must end in"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, key: str, value: str, said: str) -> None:
    problems = problems_of(write(tmp_path, **{**SOUND, key: value}))
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize("content", [b"channels = [", b'name = "\xff"'])
def test_files_that_are_not_toml_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "atlas.toml").write_bytes(content)
    assert "not valid TOML" in problems_of(tmp_path)[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows_editors_are_read(tmp_path: Path, encoding: str) -> None:
    text = "".join(f"{key} = {value}\r\n" for key, value in SOUND.items())
    (tmp_path / "atlas.toml").write_bytes(text.encode(encoding))
    assert read_spec(tmp_path).channels == ("a", "b")


def test_nested_lists_and_huge_numbers_are_not_valid(tmp_path: Path) -> None:
    for value in ("[" * 100_000, "1" * 5000):
        (tmp_path / "atlas.toml").write_text(f"max_value = {value}\n")
        assert "not valid TOML" in problems_of(tmp_path)[0]


def test_a_range_of_decimal_numbers_and_a_tiff_of_many_channels(tmp_path: Path) -> None:
    changed = {"min_value": "-0.5", "max_value": "1.5", "file_pattern": '"{id}.tif"',
               "channels": '["a", "b", "c", "d"]'}  # fmt: skip
    spec = read_spec(write(tmp_path, **{**SOUND, **changed}))
    assert (spec.min_value, spec.max_value) == (-0.5, 1.5)
    assert (spec.whole, spec.file_channels) == (True, ("a",))
    written = tmp_path / "again"
    written.mkdir()
    (written / "atlas.toml").write_text(spec_text(spec), encoding="utf-8")
    assert read_spec(written) == spec


@pytest.mark.parametrize(
    ("low", "high"), [("4095", "4095"), ("5", "1"), ("true", "1"), ("nan", "1"), ("0", "inf")]
)
def test_black_must_be_below_white(tmp_path: Path, low: str, high: str) -> None:
    with pytest.raises(DataError, match="min_value must be a number below max_value"):
        read_spec(write(tmp_path, **{**SOUND, "min_value": low, "max_value": high}))


def test_black_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="min_value needs max_value"):
        read_spec(write(tmp_path, **{**SOUND, "min_value": "0"}))
