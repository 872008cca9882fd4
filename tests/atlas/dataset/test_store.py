"""The image store: its content, when it is written again, and its reports of damaged images."""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from atlas.core.errors import DataError
from atlas.core.parallel import DECODING_THREADS
from atlas.core.row_cache import FILE_BYTES
from atlas.dataset import decoding
from atlas.dataset import store as store_module
from atlas.dataset.hpa import HPA_CHANNELS
from atlas.dataset.images import read_field, resize_field
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store, native_size_px
from atlas.synthetic.cells import draw_field
from tests.conftest import write_field, write_tiny_atlas

WriteAtlas = Callable[..., Path]


def damage(path: Path) -> None:
    """Write a PNG whose header and end are valid, but whose pixels are damaged."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("channels", [("gray",), ("red", "green", "blue", "yellow")])
def test_stored_images_equal_their_files(
    write_atlas: WriteAtlas, tmp_path: Path, channels: tuple[str, ...]
) -> None:
    manifest = read_manifest(write_atlas(test=["t"], channels=channels, size=(40, 60)))
    store = fill_store(manifest, tmp_path / "store", size_px=16)
    assert (store.ids, store.channels, store.size_px) == (manifest.ids, channels, 16)
    for row in manifest.rows:
        expected = resize_field(read_field(row.files, channels), 16)
        np.testing.assert_array_equal(store.read([row.id])[0], expected)
    assert store.read([]).shape == (0, len(channels), 16, 16)
    with pytest.raises(KeyError):
        store.read(["nobody"])


def test_the_second_run_decodes_nothing(
    write_atlas: WriteAtlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(write_atlas())
    first = fill_store(manifest, tmp_path / "store", size_px=8)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(decoding, "read_field", never)
    again = fill_store(manifest, tmp_path / "store", size_px=8)
    assert again.content_hash == first.content_hash


def test_a_changed_file_is_decoded_again_and_another_size_is_another_store(
    write_atlas: WriteAtlas, tmp_path: Path
) -> None:
    data = write_atlas()
    manifest = read_manifest(data)
    before = fill_store(manifest, tmp_path / "store", size_px=16)
    path = data / "train" / "a.png"
    modified = path.stat().st_mtime_ns
    cv2.imwrite(str(path), np.full((16, 16), 7, np.uint8))
    os.utime(path, ns=(modified, modified + 1))
    after = fill_store(manifest, tmp_path / "store", size_px=16)
    assert after.content_hash != before.content_hash
    assert (after.read(["a"]) == 7).all()
    assert not (before.read(["a"]) == 7).all()
    same = [a == b for a, b in zip(before.keys(before.ids), after.keys(after.ids), strict=True)]
    assert [i for i, is_same in zip(after.ids, same, strict=True) if not is_same] == ["a"]
    smaller = fill_store(manifest, tmp_path / "store", size_px=8)
    assert smaller.size_px == 8
    assert smaller.cache.folder != before.cache.folder


def test_all_damaged_images_are_named_at_once(
    write_atlas: WriteAtlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "rows_that_fit", lambda row_bytes: 2)
    data = write_atlas(train=dict.fromkeys("abcdef", "0"), test=["t"], size=(64, 64))
    for path in (data / "train" / "c.png", data / "train" / "f.png", data / "test" / "t.png"):
        damage(path)
    cv2.imwrite(str(data / "train" / "e.png"), np.random.default_rng(0).integers(0, 9, (8, 8, 3)))
    with pytest.raises(DataError) as caught:
        fill_store(read_manifest(data), tmp_path / "store", size_px=16)
    assert [line.split()[0].rstrip(":") for line in caught.value.problems] == [
        "train/c.png", "train/e.png", "train/f.png", "test/t.png",
    ]  # fmt: skip
    assert str(data) in str(caught.value)
    assert len(list(tmp_path.glob("store/*/*"))) == 1


def test_channels_that_change_their_size_after_the_check_are_named(
    write_atlas: WriteAtlas, tmp_path: Path
) -> None:
    data = write_atlas(channels=("red", "green"))
    manifest = read_manifest(data)
    cv2.imwrite(str(data / "train" / "a_green.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="channels of different sizes: red 16x16, green 4x4"):
        fill_store(manifest, tmp_path / "store", size_px=16)


def test_a_store_of_large_images_holds_at_most_two_files_in_memory(
    write_atlas: WriteAtlas, tmp_path: Path
) -> None:
    size_px = 2048
    manifest = read_manifest(write_atlas(train={str(n): "0" for n in range(60)}))
    assert len(manifest.rows) * size_px**2 > 6 * FILE_BYTES
    fill_store(manifest, tmp_path / "first", size_px=16)  # what is loaded once is not counted
    tracemalloc.start()
    fill_store(manifest, tmp_path / "store", size_px=size_px)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Beside the files, each thread holds the image that it decodes.
    assert peak_bytes < 3 * FILE_BYTES + DECODING_THREADS * size_px**2


def test_the_native_size_is_the_most_common_side(write_atlas: WriteAtlas) -> None:
    manifest = read_manifest(write_atlas(size=(40, 60)))
    assert native_size_px(manifest, at_most_px=512) == 60
    assert native_size_px(manifest, at_most_px=32) == 32
    assert native_size_px(manifest.of("test"), at_most_px=32) == 32


def test_images_with_a_foreign_channel_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = dict.fromkeys("abcdef", "0")
    data = write_tiny_atlas(tmp_path / "data", train=names, channels=HPA_CHANNELS)
    fields = {
        name: draw_field(antibody_seed=n, field_seed=0, labels=(25,), size_px=64)
        for n, name in enumerate(names)
    }
    foreign = fields["b"].copy()
    foreign[3] = fields["c"][3]
    for name, field in {**fields, "b": foreign}.items():
        write_field(data / "train", name, field, HPA_CHANNELS)
    manifest = read_manifest(data)
    store = fill_store(manifest, tmp_path / "store", size_px=64)
    path = store.cache.folder / "disagreements.csv"
    header, *lines = path.read_text().splitlines()
    assert header == "id,channel,score"
    assert [line.rsplit(",", 1)[0] for line in lines] == ["b,yellow"]
    said = caplog.text
    caplog.clear()
    assert "1 of 6 images have a channel that does not seem to belong to them" in said
    assert str(path) in said
    fill_store(manifest, tmp_path / "store", size_px=64)
    assert "seem to belong" not in caplog.text


def test_a_single_channel_cannot_disagree(write_atlas: WriteAtlas, tmp_path: Path) -> None:
    store = fill_store(read_manifest(write_atlas()), tmp_path / "store", size_px=16)
    assert not (store.cache.folder / "disagreements.csv").exists()
