"""A store that is being filled gives stored images, waits for others, and raises errors."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import DataError
from atlas.dataset import decoding
from atlas.dataset import store as store_module
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import ImageStore, fill_store, store_being_filled
from tests.atlas.dataset.test_store import damage

WriteAtlas = Callable[..., Path]
NAMES = dict.fromkeys("abcdef", "0")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "rows_that_fit", lambda row_bytes: 2)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return an event without which images `e` and `f` are not decoded."""
    gate, read_field = threading.Event(), decoding.read_field

    def waiting(files: tuple[Path, ...], *args: object, **kwargs: object) -> object:
        if files[0].stem in "ef":
            assert gate.wait(60)
        return read_field(files, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "read_field", waiting)
    return gate


def test_stored_images_are_read_while_the_others_are_decoded(
    write_atlas: WriteAtlas, tmp_path: Path, gate: threading.Event
) -> None:
    manifest = read_manifest(write_atlas(train=NAMES))
    with store_being_filled(manifest, tmp_path / "store", size_px=8) as store:
        early, first_key = store.read(["c", "a"]), store.keys(store.ids)[0]
        gate.set()
        late = store.read(["f"])
    whole = fill_store(manifest, tmp_path / "store", size_px=8)
    np.testing.assert_array_equal(np.concatenate([early, late]), whole.read(["c", "a", "f"]))
    assert first_key == whole.keys(["a"])[0]
    assert store.content_hash == whole.content_hash
    assert store.cache.folder == whole.cache.folder
    assert store.cache.provenance == whole.cache.provenance


def test_the_files_equal_those_of_a_store_that_was_filled_before(
    write_atlas: WriteAtlas, tmp_path: Path
) -> None:
    manifest = read_manifest(write_atlas(train=NAMES))
    with store_being_filled(manifest, tmp_path / "one", size_px=8):
        pass
    fill_store(manifest, tmp_path / "other", size_px=8)
    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.h5")}
        for name in ("one", "other")
    )
    assert one == other
    assert len(one) == 3


def test_an_unknown_id_is_reported_when_the_store_is_full(
    write_atlas: WriteAtlas, tmp_path: Path
) -> None:
    manifest = read_manifest(write_atlas(train=NAMES))
    with store_being_filled(manifest, tmp_path / "store", size_px=8) as store:
        with pytest.raises(KeyError):
            store.read(["nobody"])
        assert store.read(["a"]).shape == (1, 1, 8, 8)


@pytest.mark.parametrize("asked", [["f"], []])
def test_damaged_images_are_reported_to_readers_and_at_the_end(
    write_atlas: WriteAtlas, tmp_path: Path, asked: list[str]
) -> None:
    data = write_atlas(train=NAMES, size=(64, 64))
    for name in "ce":
        damage(data / "train" / f"{name}.png")
    manifest = read_manifest(data)
    with (
        pytest.raises(DataError) as caught,
        store_being_filled(manifest, tmp_path / "store", size_px=8) as store,
    ):
        store.read(asked)
    assert [line.split()[0] for line in caught.value.problems] == ["train/c.png", "train/e.png"]
    assert len(list((tmp_path / "store").rglob("*.h5"))) == 1


def test_after_an_error_in_the_block_no_further_file_is_written(
    write_atlas: WriteAtlas, tmp_path: Path, gate: threading.Event
) -> None:
    manifest = read_manifest(write_atlas(train={**NAMES, "g": "0", "h": "0", "i": "0"}))

    def fail_after(image_id: str, store: ImageStore) -> None:
        store.read([image_id])
        threading.Timer(0.2, gate.set).start()
        raise KeyError("mine")

    with (
        pytest.raises(KeyError, match="mine"),
        store_being_filled(manifest, tmp_path / "store", size_px=8) as store,
    ):
        fail_after("d", store)
    assert 2 <= len(list((tmp_path / "store").rglob("part-*.h5"))) < 5
    assert "filling the store" not in {thread.name for thread in threading.enumerate()}
