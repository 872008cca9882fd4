import sqlite3
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import UserError
from atlas.core.row_file import DamagedFileError
from index.added_images import (
    AddedImage,
    add_image,
    content_of,
    read_added,
    remove_images,
    remove_orphans,
    replace_image,
)


def made(n: int) -> tuple[AddedImage, list[bytes]]:
    files = [f"red {n}".encode(), f"green {n}".encode()]
    vector = np.random.default_rng(n).normal(size=8).astype(np.float32)
    image = AddedImage(
        id=f"image {n}", content=content_of(files), endings=(".png", ".tif"), labels=(2, 0),
        identity="antibody", pixels="p", embedder="e", vector_D=vector,
    )  # fmt: skip
    return image, files


def plain(image: AddedImage) -> dict:
    return {**asdict(image), "vector_D": image.vector_D.tobytes()}


def test_images_are_read_as_they_were_added(tmp_path: Path) -> None:
    assert not read_added(tmp_path / "added").by_id
    images = [made(n) for n in range(3)]
    for image, files in images:
        add_image(tmp_path / "added", image, files)
    found = read_added(tmp_path / "added")
    assert list(found.by_id) == ["image 0", "image 1", "image 2"]
    for image, files in images:
        assert plain(found.by_id[image.id]) == plain(image)
        paths = found.files_of(image.id)
        assert paths is not None
        assert [path.read_bytes() for path in paths] == files
        assert [path.suffix for path in paths] == [".png", ".tif"]


def test_an_id_and_a_content_are_there_once(tmp_path: Path) -> None:
    (image, files), (other, other_files) = made(0), made(1)
    add_image(tmp_path, image, files)
    for twin, its_files in (
        (replace(image, id="other"), files),
        (replace(other, id=image.id), other_files),
    ):
        with pytest.raises(UserError, match="UNIQUE"):
            add_image(tmp_path, twin, its_files)
    assert list(read_added(tmp_path).by_id) == [image.id]


def test_removed_images_leave_nothing(tmp_path: Path) -> None:
    images = [made(n) for n in range(3)]
    for image, files in images:
        add_image(tmp_path, image, files)
    remove_images(tmp_path, [images[0][0], images[2][0]])
    assert list(read_added(tmp_path).by_id) == ["image 1"]
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_files_without_a_row_are_removed_and_others_stay(tmp_path: Path) -> None:
    image, files = made(0)
    add_image(tmp_path, image, files)
    (tmp_path / "images" / "killed-0.png").write_bytes(b"x")
    remove_orphans(read_added(tmp_path))
    assert {p.read_bytes() for p in (tmp_path / "images").iterdir()} == set(files)


def test_an_image_that_was_embedded_again_keeps_its_place(tmp_path: Path) -> None:
    for image, files in (made(0), made(1)):
        add_image(tmp_path, image, files)
    again = replace(made(0)[0], vector_D=np.ones(8, np.float32), embedder="f")
    replace_image(tmp_path, again)
    found = read_added(tmp_path).by_id
    assert list(found) == ["image 0", "image 1"]
    assert plain(found["image 0"]) == plain(again)


@pytest.mark.parametrize("column", ["labels", "identity", "vector", "pixels"])
def test_a_row_that_was_changed_is_refused(tmp_path: Path, column: str) -> None:
    add_image(tmp_path, *made(0))
    with sqlite3.connect(tmp_path / "added.db") as file:
        file.execute(
            f"UPDATE images SET {column} = ?", (b"\0" * 32 if column == "vector" else "1",)
        )
    with pytest.raises(DamagedFileError):
        read_added(tmp_path)


def test_another_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "added.db") as file:
        file.execute("CREATE TABLE x (y)")
    with pytest.raises(UserError, match="is not a database of added images"):
        read_added(tmp_path)
    (tmp_path / "added.db").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="restore it from a backup"):
        read_added(tmp_path)
