"""Pictures that hold all channels, and files that are found by name."""

import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from atlas.dataset.image_headers import check_picture, read_header
from atlas.dataset.images import ImageProblem, decode_picture, read_field
from atlas.dataset.picture_files import file_name_of, files_of_stem, leads_inside, pictures_below
from tests.photos import photo, save, save_rotated

RGB = ("red", "green", "blue")
LOSSLESS = ("png", "bmp", "tif", "TIFF")


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


@pytest.fixture
def pixels() -> np.ndarray:
    return photo(1, 40, 56)


@pytest.mark.parametrize("ending", LOSSLESS)
def test_colour_is_read_as_red_green_blue(tmp_path: Path, pixels: np.ndarray, ending: str) -> None:
    save(tmp_path / f"x.{ending}", pixels)
    field = read_field((tmp_path / f"x.{ending}",), RGB, whole=True)
    np.testing.assert_array_equal(field, np.moveaxis(pixels, -1, 0))


@pytest.mark.parametrize("ending", ["jpg", "webp", "gif"])
def test_lossy_files_are_read_alike(tmp_path: Path, pixels: np.ndarray, ending: str) -> None:
    save(tmp_path / f"x.{ending}", cv2.GaussianBlur(pixels, (0, 0), 4))
    field = read_field((tmp_path / f"x.{ending}",), RGB, whole=True).astype(int)
    expected = by_pillow(tmp_path / f"x.{ending}").astype(int)
    assert np.abs(field - np.moveaxis(expected, -1, 0)).max() <= 8


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_colour_keeps_its_planes(tmp_path: Path, pixels: np.ndarray, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    cv2.imwrite(str(path), pixels[:, :, ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_field((path,), RGB, whole=True), np.moveaxis(pixels, -1, 0))
    dim = read_field((path,), RGB, whole=True, max_value=65535)
    np.testing.assert_array_equal(dim, np.moveaxis(pixels, -1, 0))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp"])
def test_alpha_is_dropped_whatever_its_value(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    image = Image.fromarray(pixels).convert("RGBA")
    image.putalpha(Image.fromarray(pixels[:, :, 0] // 2 + 1))
    image.save(tmp_path / name, **({"lossless": True, "exact": True} if "webp" in name else {}))
    np.testing.assert_array_equal(decode_picture(tmp_path / name), pixels)


def test_palettes_are_resolved(tmp_path: Path, pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels).quantize(32)
    for name in ("x.png", "x.gif", "x.bmp", "x.tif"):
        image.save(tmp_path / name)
        np.testing.assert_array_equal(
            decode_picture(tmp_path / name), np.asarray(image.convert("RGB"))
        )


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_the_orientation_of_exif_is_honoured(
    tmp_path: Path, pixels: np.ndarray, ending: str
) -> None:
    smooth = cv2.GaussianBlur(pixels, (0, 0), 4)
    save_rotated(tmp_path / f"x.{ending}", smooth)
    read = decode_picture(tmp_path / f"x.{ending}").astype(int)
    assert read.shape == smooth.shape
    assert np.abs(read - smooth).mean() < 3
    header = read_header(tmp_path / f"x.{ending}", whole=True)
    assert (header.width_px, header.height_px) == (56, 40)


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_the_first_frame_of_an_animation_is_read(
    tmp_path: Path, pixels: np.ndarray, ending: str
) -> None:
    first, second = Image.fromarray(pixels).quantize(16), Image.fromarray(255 - pixels).quantize(16)
    path = tmp_path / f"x.{ending}"
    more = {"lossless": True} if ending == "webp" else {}
    first.convert("RGB").save(path, save_all=True, append_images=[second.convert("RGB")], **more)
    np.testing.assert_array_equal(decode_picture(path), by_pillow(path))
    assert check_picture(path).problem == ""


def test_a_tiff_of_several_pages_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels)
    image.save(tmp_path / "x.tif", save_all=True, append_images=[image])
    assert check_picture(tmp_path / "x.tif").problem.startswith("has 2 pages")


def test_gray_is_read_as_colour_and_colour_as_gray(tmp_path: Path, pixels: np.ndarray) -> None:
    save(tmp_path / "gray.png", pixels[:, :, 0])
    save(tmp_path / "colour.png", pixels)
    repeated = read_field((tmp_path / "gray.png",), RGB, whole=True)
    np.testing.assert_array_equal(repeated, np.stack([pixels[:, :, 0]] * 3))
    one = read_field((tmp_path / "gray.png",), ("gray",), whole=True)
    np.testing.assert_array_equal(one[0], pixels[:, :, 0])
    gray = read_field((tmp_path / "colour.png",), ("gray",), whole=True)[0].astype(int)
    assert np.abs(gray - cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)).max() <= 1


def test_other_pixels_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels[:, :, 0]).convert("F").save(tmp_path / "x.tif")
    with pytest.raises(ImageProblem, match="float32 pixels"):
        read_field((tmp_path / "x.tif",), RGB, whole=True)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "gif", "tif", "bmp"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_truncated_pictures_are_detected(
    tmp_path: Path, pixels: np.ndarray, ending: str, kept: float
) -> None:
    path = tmp_path / f"x.{ending}"
    save(path, pixels)
    content = path.read_bytes()
    assert check_picture(path).problem == ""
    path.write_bytes(content[: int(len(content) * kept)])
    assert check_picture(path).problem


def test_content_behind_the_end_of_a_jpeg_is_ignored(tmp_path: Path, pixels: np.ndarray) -> None:
    save(tmp_path / "x.jpg", pixels)
    with (tmp_path / "x.jpg").open("ab") as file:
        file.write(bytes(5000))  # phones put a video there
    assert check_picture(tmp_path / "x.jpg").problem == ""


def test_endings_in_any_case_are_found(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.JPeG", "c.tif"):
        (tmp_path / name).write_bytes(b"")
    found = [files_of_stem(tmp_path, stem) for stem in ("a", "b", "c", "d")]
    assert [[f.name for f in files] for files in found] == [["a.PNG"], ["b.JPeG"], ["c.tif"], []]
    assert files_of_stem(tmp_path / "none", "a") == ()


def test_all_pictures_below_a_folder_are_found(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(f, "ü.png") for f in ("NFC", "NFD"))
    names = ("b/z.png", "a b/[1].JPG", composed, decomposed, "b/deep/x.webp")
    for name in (*names, "notes.txt", ".hidden/x.png", "b/.x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.png").symlink_to("nothing.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = pictures_below(tmp_path)
    assert found.paths == tuple(sorted(names))
    assert found.passed_over == {".txt": 1, "links to nothing": 2, "neither files nor folders": 1}
    assert pictures_below(tmp_path, without=[tmp_path / "b"]).paths == tuple(
        sorted(name for name in names if not name.startswith("b/"))
    )


def test_a_linked_folder_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").write_bytes(b"")
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere")
    assert pictures_below(tmp_path / "data").paths == ("one/x.png",)


@pytest.mark.parametrize(
    "path", ["../x.png", "/x.png", "a//x.png", "a/../x.png", "./x.png", "a\\x.png", "a\n.png", ""]
)
def test_paths_that_leave_their_folder_are_refused(path: str) -> None:
    assert not leads_inside(path)


def test_file_names_of_ids_are_safe_and_different() -> None:
    ids = ["a/b.png", "a_b.png", "a/b_png", "a:b.png", "..", "ü/ä.png", "x" * 400, "y" * 400, ".a"]
    names = [file_name_of(image_id) for image_id in ids]
    assert len(set(names)) == len(ids)
    assert not any("/" in name or name.startswith(".") or len(name) > 200 for name in names)
    assert file_name_of("1fffd2fe") == "1fffd2fe"
    assert file_name_of("a_b.png") == "a_b.png"
