"""The key of an image follows from its files and from how they are read, and from nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

from atlas.dataset.image_keys import keys_in, keys_of
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store

WriteAtlas = Callable[..., Path]


def test_a_store_and_the_files_alone_give_the_same_keys(
    write_atlas: WriteAtlas, tmp_path: Path
) -> None:
    data = write_atlas(test=("t",), channels=("red", "green"))
    manifest = read_manifest(data)
    store = fill_store(manifest, tmp_path / "store", size_px=8)
    keys = dict(zip(store.ids, store.image_keys(store.ids), strict=True))
    assert len(set(keys.values())) == 4
    assert keys_of(manifest, tmp_path / "elsewhere") == keys
    assert keys_in(data, tmp_path / "elsewhere") == keys


def test_an_atlas_that_was_copied_keeps_its_keys(write_atlas: WriteAtlas, tmp_path: Path) -> None:
    data = write_atlas(test=("t",))
    shutil.copytree(data, tmp_path / "copy")
    assert keys_in(tmp_path / "copy", tmp_path / "store") == keys_in(data, tmp_path / "store")


def test_one_channel_of_another_image_changes_one_key(
    write_atlas: WriteAtlas, tmp_path: Path
) -> None:
    data = write_atlas(test=("t", "u"), channels=("red", "green"))
    before = keys_in(data, tmp_path / "store")
    shutil.copy(data / "test" / "u_green.png", data / "test" / "t_green.png")
    after = keys_in(data, tmp_path / "store")
    assert [name for name in before if before[name] != after[name]] == ["t"]


def test_other_gray_levels_change_all_keys(write_atlas: WriteAtlas, tmp_path: Path) -> None:
    data = write_atlas(test=("t",))
    before = keys_in(data, tmp_path / "store")
    description = data / "atlas.toml"
    description.write_text("max_value = 128\n" + description.read_text())
    after = keys_in(data, tmp_path / "store")
    assert set(before) == set(after)
    assert set(before.values()).isdisjoint(after.values())


def test_an_image_that_is_not_there_has_no_key(write_atlas: WriteAtlas, tmp_path: Path) -> None:
    data = write_atlas(test=("t", "u"))
    (data / "test" / "t.png").unlink()
    assert set(keys_in(data, tmp_path / "store")) == {"a", "b", "c", "u"}
    shutil.rmtree(data / "test")
    assert set(keys_in(data, tmp_path / "store")) == {"a", "b", "c"}
