"""Files are replaced safely, and texts and hashes depend on the values alone."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import MissingStageError, Stage, UserError, command_line
from atlas.core.files import (
    LEFT_OVER_SECONDS,
    content_hash,
    folder_written_beside,
    json_text,
    read_json,
    remove_left_over,
    write_json,
    written_beside,
)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.txt"
    with written_beside(path) as beside:
        assert beside.suffix == ".txt"
        beside.write_text("old")

    def fail() -> None:
        with written_beside(path) as beside:
            beside.write_text("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for name in ("one", "two"):
        with folder_written_beside(folder, holds="a.txt") as beside:
            (beside / "a.txt").touch()
            (beside / name).touch()

    def fail() -> None:
        with folder_written_beside(folder, holds="a.txt") as beside:
            (beside / "three").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "two"]
    assert list(tmp_path.iterdir()) == [folder]


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    old, new = tmp_path / ".x.1.part", tmp_path / ".x.2.part"
    for path in (old, new):
        path.mkdir()
        (path / "file").touch()
    past = new.stat().st_mtime - LEFT_OVER_SECONDS - 60
    os.utime(old, (past, past))
    remove_left_over(tmp_path, ".x.*.part")
    assert list(tmp_path.iterdir()) == [new]


@dataclass(frozen=True)
class Settings:
    where: Path
    size: int


def test_settings_are_written_as_json() -> None:
    value = {"b": np.float64(0.5), "a": Settings(Path("x"), 3), "c": np.arange(2), "d": ("é",)}
    assert json.loads(json_text(value)) == {
        "a": {"where": "x", "size": 3}, "b": 0.5, "c": [0, 1], "d": ["é"],
    }  # fmt: skip
    assert json_text({"a": 1, "b": 2}) == json_text({"b": 2, "a": 1})
    with pytest.raises(TypeError, match="cannot write a set as JSON"):
        json_text({1})


def test_json_files_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1]})
    assert read_json(tmp_path / "x.json") == {"a": [1]}
    with pytest.raises(
        MissingStageError, match=f"y.json does not exist; first run  {command_line('build_index')}"
    ):
        read_json(tmp_path / "y.json", Stage.INDEX)


def test_different_values_have_different_hashes() -> None:
    row = np.arange(4, dtype=np.uint8)
    different = [
        content_hash(row),
        content_hash(row.reshape(2, 2)),
        content_hash(row.astype(np.int8)),
        content_hash("ab", "c"),
        content_hash("a", "bc"),
        content_hash(),
    ]
    assert len(set(different)) == len(different)
    assert content_hash("a") == content_hash(b"a")
    columns = np.arange(6).reshape(2, 3)
    assert content_hash(columns.T) == content_hash(np.ascontiguousarray(columns.T))


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    (tmp_path / "notes").write_text("mine")
    for name in ("photos", "notes"):
        with (
            pytest.raises(UserError, match="not written by this command"),
            folder_written_beside(tmp_path / name, holds="summary.json"),
        ):
            raise AssertionError("this block must not run")
    assert (tmp_path / "photos" / "holiday.jpg").exists()
    assert (tmp_path / "notes").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    with folder_written_beside(tmp_path / "empty", holds="summary.json") as beside:
        (beside / "summary.json").touch()
    assert (tmp_path / "empty" / "summary.json").exists()
