"""A key follows from the content of files, whatever their sizes and times are."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import DataError
from atlas.dataset import file_keys
from atlas.dataset.file_keys import FileKeys, require_unchanged
from atlas.dataset.manifest import ImageRow, read_manifest
from atlas.dataset.store import fill_store

WriteAtlas = Callable[..., Path]
LONG_AGO = (315_532_800, 315_532_800)


def rows_of(*files: Path) -> list[ImageRow]:
    return [
        ImageRow(id=file.name, split="train", files=(file,), width_px=1, height_px=1)
        for file in files
    ]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two files of equal size and equal modification time."""
    files = tmp_path / "a.tif", tmp_path / "b.tif"
    for file, content in zip(files, (b"one", b"two"), strict=True):
        file.write_bytes(content)
        os.utime(file, LONG_AGO)
    return files


def exchange(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are a moment old count as settled, so that no test has to wait."""
    monkeypatch.setattr(file_keys, "SETTLED_NS", 0)


def test_exchanged_files_exchange_their_keys(
    two: tuple[Path, Path], tmp_path: Path, settled: None
) -> None:
    before = FileKeys(rows_of(*two), tmp_path / "store")
    keys = list(before)
    before.keep()
    exchange(*two)
    assert list(FileKeys(rows_of(*two), tmp_path / "store")) == keys[::-1]


def test_an_overwritten_file_gets_a_new_key(
    two: tuple[Path, Path], tmp_path: Path, settled: None
) -> None:
    before = FileKeys(rows_of(*two), tmp_path / "store")
    keys = list(before)
    before.keep()
    two[0].write_bytes(b"six")
    os.utime(two[0], LONG_AGO)
    after = list(FileKeys(rows_of(*two), tmp_path / "store"))
    assert after[0] != keys[0]
    assert after[1] == keys[1]


def test_unchanged_files_are_not_read_again(
    two: tuple[Path, Path], tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = FileKeys(rows_of(*two), tmp_path / "store")
    keys = list(before)
    before.keep()
    read: list[Path] = []
    monkeypatch.setattr(file_keys, "_checksum", lambda file: read.append(file) or "x")
    assert list(FileKeys(rows_of(*two), tmp_path / "store")) == keys
    assert read == []


def test_a_file_that_has_just_changed_is_read_again(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change once more within the resolution of the clock of the file system."""
    before = FileKeys(rows_of(*two), tmp_path / "store")
    list(before)
    before.keep()
    read: list[Path] = []
    monkeypatch.setattr(file_keys, "_checksum", lambda file: read.append(file) or "x")
    assert list(FileKeys(rows_of(*two), tmp_path / "store")) == ["x", "x"]


def test_copies_of_a_file_have_equal_keys(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    keys = FileKeys(rows_of(tmp_path / "a", tmp_path / "b"), tmp_path / "store")
    assert len(keys) == 2
    assert keys[0] == keys[1] == keys[-1]
    assert keys[0:2] == [keys[0], keys[1]]


def test_a_file_that_changes_while_it_is_read_is_an_error(two: tuple[Path, Path]) -> None:
    rows = rows_of(*two)
    keys = FileKeys(rows, two[0].parent / "store")
    require_unchanged(keys.signatures(rows))
    two[0].write_bytes(b"longer")
    with pytest.raises(DataError, match=r"a\.tif was changed while it was read"):
        require_unchanged(keys.signatures(rows))


def test_the_store_follows_files_of_equal_size_and_time(
    write_atlas: WriteAtlas, tmp_path: Path, settled: None
) -> None:
    data = write_atlas(train={"a": "0", "b": "1"})
    files = [data / "train" / f"{name}.png" for name in "ab"]
    size = max(file.stat().st_size for file in files)
    for file in files:
        file.write_bytes(file.read_bytes().ljust(size, b"\0"))
        os.utime(file, LONG_AGO)
    first = fill_store(read_manifest(data), tmp_path / "store", size_px=16).read(["a", "b"])
    exchange(*files)
    second = fill_store(read_manifest(data), tmp_path / "store", size_px=16).read(["a", "b"])
    np.testing.assert_array_equal(second, first[::-1])
