"""An image that is a folder is listed, keyed, copied and looked up as one that is a file."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import DataError, UserError
from atlas.dataset import file_keys
from atlas.dataset.file_keys import FileKeys, require_unchanged
from atlas.dataset.image_files import link_or_copy
from atlas.dataset.images import decode
from atlas.dataset.manifest import ImageRow, read_manifest
from atlas.dataset.open import open_dataset
from atlas.dataset.picture_files import files_of_stem, pictures_below, stem_of
from atlas.dataset.plain_folder import pair_of_folders, read_plain_folder
from atlas.dataset.queries import gather_queries, open_files
from atlas.dataset.spec import read_spec
from atlas.dataset.store import fill_store
from tests.atlas.dataset.format_matrix import gray
from tests.atlas.dataset.ome_zarr_files import chunks_of, write

LONG_AGO = (315_532_800, 315_532_800)
TOML = """name = "Plates"
channels = ["a", "b", "c", "d"]
file_pattern = "{id}.ome.zarr"
labels = ["x"]
"""


def image(path: Path, number: int = 0) -> Path:
    return write(path, gray(8) + number, axes="yx", compressors=None)


def rows_of(*images: Path) -> list[ImageRow]:
    return [
        ImageRow(id=path.name, split="train", files=(path,), width_px=52, height_px=35)
        for path in images
    ]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are a moment old count as settled, so that no test has to wait."""
    monkeypatch.setattr(file_keys, "SETTLED_NS", 0)


def key_of(path: Path, store: Path) -> str:
    keys = FileKeys(rows_of(path), store)
    found = keys[0]
    keys.keep()
    return found


def test_an_image_is_one_picture_and_nothing_is_looked_for_in_it(tmp_path: Path) -> None:
    image(tmp_path / "cats" / "a.ome.zarr")
    image(tmp_path / "b.ZARR")
    (tmp_path / "b.ZARR" / "thumbnail.png").write_bytes(b"")
    image(tmp_path / "unnamed")
    (tmp_path / "link").symlink_to(tmp_path / "b.ZARR")
    found = pictures_below(tmp_path)
    assert found.paths == ("b.ZARR", "cats/a.ome.zarr")
    assert found.passed_over == {"folders of Zarr whose names do not end in .zarr": 2}


def test_a_folder_of_images_is_a_folder_of_pictures(tmp_path: Path) -> None:
    image(tmp_path / "cats" / "a.ome.zarr")
    image(tmp_path / "dogs" / "b.zarr", 1)
    chunks_of(image(tmp_path / "dogs" / "c.zarr", 2))[0].unlink()
    folder = read_plain_folder(tmp_path)
    assert [picture.id for picture in folder.pictures] == ["cats/a.ome.zarr", "dogs/b.zarr"]
    assert (folder.labels, folder.channels) == (("cats", "dogs"), ("gray",))
    assert folder.left_out[0].startswith("1 picture: dogs/c.zarr lacks the chunk 0/")


def test_an_image_is_not_a_data_folder(tmp_path: Path) -> None:
    path = image(tmp_path / "a.zarr")
    with pytest.raises(UserError, match=r"a\.zarr is an image; give the folder in which it lies"):
        pair_of_folders(path, None)
    with pytest.raises(DataError, match="folder is an image; give the folder in which it lies"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.ome.zarr", "a"), ("a.OME.ZARR", "a"), ("a.zarr", "a"), ("d/a.b.png", "d/a.b")],
)
def test_ome_zarr_is_one_ending(name: str, stem: str) -> None:
    assert stem_of(name) == stem


@pytest.mark.parametrize("ending", [".ome.zarr", ".zarr", ".OME.Zarr"])
def test_an_image_is_found_by_its_stem(tmp_path: Path, ending: str) -> None:
    path = image(tmp_path / f"a{ending}")
    assert files_of_stem(tmp_path, "a") == (path,)


@pytest.mark.parametrize("pattern", ["{id}.ome.zarr", "{id}.tif"])
def test_tables_name_images_that_are_folders(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "atlas.toml").write_text(TOML.replace("{id}.ome.zarr", pattern))
    (tmp_path / "train.csv").write_text("Id,Target\nP1,0\n")
    (tmp_path / "sample_submission.csv").write_text("Id,Predicted\nQ1,0\n")
    planes = np.stack([gray(8) + n for n in range(4)])
    write(tmp_path / "train" / "P1.ome.zarr", planes)
    write(tmp_path / "test" / "Q1.ome.zarr", planes[::-1], version=3)
    manifest = read_manifest(tmp_path)
    assert [(row.id, row.width_px, row.height_px) for row in manifest.rows] == [
        ("P1", 52, 35), ("Q1", 52, 35),
    ]  # fmt: skip
    fields = fill_store(manifest, tmp_path / "store", size_px=16).read(["P1", "Q1"])
    assert np.abs(fields[0].astype(int) - fields[1][::-1]).max() == 0
    write(tmp_path / "test" / "Q1.ome.zarr", planes[:2])
    with pytest.raises(DataError, match=r"Q1\.ome\.zarr holds 2 channels, and atlas.toml names 4"):
        read_manifest(tmp_path)


def test_each_channel_may_be_an_image(tmp_path: Path) -> None:
    text = TOML.replace('"c", "d"', "").replace("{id}", "{id}_{channel}")
    (tmp_path / "atlas.toml").write_text(text.replace(", ]", "]"))
    (tmp_path / "train.csv").write_text("Id,Target\nP1,0\n")
    (tmp_path / "sample_submission.csv").write_text("Id,Predicted\nQ1,0\n")
    for channel in "ab":
        image(tmp_path / "test" / f"Q1_{channel}.zarr")
    files = [image(tmp_path / "train" / f"P1_{channel}.ome.zarr") for channel in "ab"]
    assert read_manifest(tmp_path).rows[0].files == tuple(files)
    found = open_files(read_spec(tmp_path), tmp_path).query(str(files[1]))
    assert found.files == tuple(files)


def test_a_key_follows_the_content_of_every_file(tmp_path: Path, settled: None) -> None:
    path, store = image(tmp_path / "a.zarr"), tmp_path / "store"
    first, chunk = key_of(path, store), chunks_of(path)[3]
    content = chunk.read_bytes()
    chunk.write_bytes(content[::-1])  # of equal size, and then of equal time
    os.utime(chunk, LONG_AGO)
    second = key_of(path, store)
    chunk.write_bytes(content)
    os.utime(chunk, LONG_AGO)
    assert second != first == key_of(path, store)


def test_exchanged_chunks_change_the_key(tmp_path: Path, settled: None) -> None:
    path, store = image(tmp_path / "a.zarr"), tmp_path / "store"
    one, other = chunks_of(path)[:2]
    for file in (one, other):
        os.utime(file, LONG_AGO)
    first = key_of(path, store)
    one.rename(path / "between")
    other.rename(one)
    (path / "between").rename(other)
    assert key_of(path, store) != first


def test_a_file_that_is_added_or_removed_changes_the_key(tmp_path: Path, settled: None) -> None:
    path, store = image(tmp_path / "a.zarr"), tmp_path / "store"
    first = key_of(path, store)
    (path / "0" / "new").write_bytes(b"")
    assert key_of(path, store) != first
    (path / "0" / "new").unlink()
    assert key_of(path, store) == first


def test_copies_of_an_image_have_equal_keys(tmp_path: Path) -> None:
    one = image(tmp_path / "a.zarr")
    link_or_copy(one, tmp_path / "other" / "b.zarr")
    keys = FileKeys(rows_of(one, tmp_path / "other" / "b.zarr"), tmp_path / "store")
    assert keys[0] == keys[1]


def test_unchanged_images_are_not_read_again(
    tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, store = image(tmp_path / "a.zarr"), tmp_path / "store"
    first = key_of(path, store)
    read: list[Path] = []
    monkeypatch.setattr(file_keys, "_checksum", lambda file: read.append(file) or "x")
    assert key_of(path, store) == first
    assert read == []


def test_an_image_that_has_just_changed_is_read_again(tmp_path: Path) -> None:
    """It could change once more within the resolution of the clock of the file system."""
    path, store = image(tmp_path / "a.zarr"), tmp_path / "store"
    key_of(path, store)
    chunk = chunks_of(path)[0]
    keys = FileKeys(rows_of(path), store)
    assert keys[0]
    chunk.write_bytes(chunk.read_bytes())
    with pytest.raises(DataError, match=r"a\.zarr was changed while it was read"):
        require_unchanged(keys.signatures(rows_of(path)))


def test_links_in_an_image_are_an_error_of_its_key(tmp_path: Path) -> None:
    path = image(tmp_path / "a.zarr")
    (path / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"a\.zarr holds the link 'link'; copy it without links"):
        FileKeys(rows_of(path), tmp_path / "store")


def test_a_linked_image_stays_when_the_original_is_removed(
    tmp_path: Path, remove: Callable[[Path], None]
) -> None:
    path, place = image(tmp_path / "a.zarr"), tmp_path / "out" / "b.zarr"
    link_or_copy(path, place)
    remove(path)
    np.testing.assert_array_equal(decode(place), gray(8))
    assert os.listdir(place.parent) == ["b.zarr"]
    image(tmp_path / "a.zarr", 5)
    link_or_copy(tmp_path / "a.zarr", place)  # what is there is kept
    np.testing.assert_array_equal(decode(place), gray(8))


@pytest.fixture
def remove() -> Callable[[Path], None]:
    import shutil

    return shutil.rmtree


def test_queries_may_be_images_and_folders_of_images(tmp_path: Path) -> None:
    image(tmp_path / "known" / "a.zarr")
    new = [image(tmp_path / "new" / f"{name}.ome.zarr", 3) for name in "bc"]
    files = open_files(read_spec(tmp_path / "known"), tmp_path / "known")
    found = gather_queries(["a.zarr", f"{new[0]}/", str(tmp_path / "new")], files)
    assert [query.files for query in found] == [
        (tmp_path / "known" / "a.zarr",), (new[0],), (new[1],),
    ]  # fmt: skip
    assert not any(query.problem for query in found)
