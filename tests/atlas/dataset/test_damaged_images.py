"""Damaged files, and what only looks like an image file, are refused in one sentence."""

import io
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from atlas.dataset.image_headers import check_picture, read_header
from atlas.dataset.images import ImageProblem, decode
from atlas.dataset.pixel_budget import PixelBudget
from tests.atlas.dataset.format_matrix import TABLE, colour, gray
from tests.photos import photo, save

# One file of each row of the table of formats.
SAMPLES = {
    f"{n}-{row.format}-{case.compression}.{row.format.lower()}": row.write(case)
    for n, row in enumerate(TABLE)
    for case in list(row.cases())[:1]
}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ImageProblem) as caught:
        decode(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(path.name)
    return str(caught.value)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_with_its_end_mark_and_a_damaged_middle_is_refused(
    tmp_path: Path, mode: str, options: dict[str, object]
) -> None:
    content = bytearray(encoded(Image.fromarray(photo(1)).convert(mode), "JPEG", **options))
    middle = int(0.6 * len(content))
    content[middle : middle + 512] = bytes(512)
    assert "is not a readable JPEG" in refusal(tmp_path / "x.jpg", bytes(content))
    cut = bytes(content[: len(content) // 3]) + b"\xff\xd9"
    assert "is not a readable JPEG" in refusal(tmp_path / "x.jpg", cut)
    assert check_picture(tmp_path / "x.jpg").problem


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zlib", "lzma", "jpeg"])
@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_damaged_strips_and_tiles_are_refused(
    tmp_path: Path, compression: str, tile: tuple[int, int] | None
) -> None:
    file = io.BytesIO()
    pixels = np.tile(gray(8, 64, 64), (2, 2))
    tifffile.imwrite(file, pixels, compression=compression, tile=tile)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff:
        start, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    content = bytearray(file.getvalue())
    content[start + size // 3 : start + 2 * size // 3] = bytes(2 * size // 3 - size // 3)
    assert "is not a readable TIFF" in refusal(tmp_path / "x.tif", bytes(content))


def test_a_strip_that_lies_outside_the_file_is_refused_by_its_header(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, gray(16))
    (tmp_path / "x.tif").write_bytes(file.getvalue()[:-40])
    assert read_header(tmp_path / "x.tif").problem == "is truncated; copy it again"


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_mutations_of_headers_are_refused_or_read(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content, _ = SAMPLES[name]
    rng = np.random.default_rng(len(content))
    path = tmp_path / name
    for _ in range(60):
        mutated = bytearray(content)
        at = int(rng.integers(min(len(content), 400) if rng.random() < 0.7 else len(content)))
        if name.split("-")[1] == "TIFF" and rng.random() < 0.5:  # the tags may come last
            at = len(content) - 1 - int(rng.integers(min(len(content), 250)))
        mutated[at : at + int(rng.integers(1, 5))] = rng.bytes(int(rng.integers(0, 5)))
        path.write_bytes(bytes(mutated))
        said = [read_header(path, whole=True).problem]
        try:
            decode(path)
        except ImageProblem as problem:
            said.append(str(problem))
        assert not any("\n" in text for text in said)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.bmp", "x.webp", "x.gif"])
@pytest.mark.parametrize("behind", [bytes(4096), b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20])
def test_bytes_behind_the_end_are_ignored(tmp_path: Path, name: str, behind: bytes) -> None:
    path = tmp_path / name
    save(path, photo(2))
    expected = decode(path)
    with path.open("ab") as file:
        file.write(behind)
    np.testing.assert_array_equal(decode(path), expected)
    assert read_header(path, whole=True).problem == check_picture(path).problem == ""


def test_padding_in_front_of_the_end_mark_is_ignored(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(photo(3)), "JPEG")
    (tmp_path / "x.jpg").write_bytes(content)
    expected = decode(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes(content[:-2] + bytes(37) + content[-2:])
    np.testing.assert_array_equal(decode(tmp_path / "x.jpg"), expected)


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "annex.png").write_text("../.git/annex/objects/x/gone.png")
    (tmp_path / "gone.png").symlink_to("nothing.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, said in {
        "folder.png": "is a folder",
        "empty.png": "is empty",
        "text.png": "is not a readable PNG, JPEG, TIFF, BMP, WebP, GIF or DICOM",
        "lfs.png": "is a pointer of Git LFS; fetch the image with git lfs pull",
        "annex.png": "is a link to ../.git/annex/objects/x/gone.png, which does not exist; "
        "run git annex get",
        "gone.png": "is a link to nothing.png, which does not exist",
        "loop.png": "cannot be read (Too many levels of symbolic links)",
        "pipe.png": "is not a file but a pipe",
        "none.png": "does not exist",
    }.items():
        for header in (read_header(tmp_path / name), check_picture(tmp_path / name)):
            assert header.problem == said
        with pytest.raises(ImageProblem) as caught:
            decode(tmp_path / name)
        assert str(caught.value) == f"{name} {said}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    save(tmp_path / "x.png", photo(1))
    (tmp_path / "x.png").chmod(0)
    assert read_header(tmp_path / "x.png").problem == "cannot be read (Permission denied)"


def bomb(side: int) -> bytes:
    """A small PNG that claims side x side pixels of one bit."""
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def test_images_above_the_limit_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    said = refusal(tmp_path / "x.png", bomb(30_000))
    assert "has 30,000 x 30,000 pixels, more than the 178,956,970 that are read" in said
    assert read_header(tmp_path / "x.png").problem in said


def test_a_tiff_that_claims_more_than_its_file_holds_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    file = io.BytesIO()
    tifffile.imwrite(file, gray(8, 16, 16), compression="lzw")
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff:
        tags = tiff.pages[0].tags
        places = [tags[name].valueoffset for name in ("ImageWidth", "ImageLength", "RowsPerStrip")]
    content = bytearray(file.getvalue())
    for place in places:
        content[place : place + 2] = (12_000).to_bytes(2, "little")
    path.write_bytes(bytes(content))
    script = (
        "import resource, sys; from pathlib import Path; from atlas.dataset.images import decode\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"try: decode(Path({str(path)!r}))\n"
        "except ValueError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    said, grown_kib = done.stdout.splitlines()
    assert said.startswith("x.tif is not a readable TIFF")
    assert int(grown_kib) < 300_000


def test_the_pixel_budget_bounds_what_threads_hold_together() -> None:
    budget, most, lock = PixelBudget(100), [0], threading.Lock()

    def work(values: int) -> None:
        with budget.holding(values), lock:
            most[0] = max(most[0], budget.used)

    threads = [threading.Thread(target=work, args=(40,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 40 <= most[0] <= 80
    assert budget.used == 0


def test_an_image_above_the_budget_is_decoded_alone() -> None:
    budget, began, order = PixelBudget(100), threading.Event(), list[str]()

    def small() -> None:
        began.set()
        with budget.holding(1):
            order.append("small")

    with budget.holding(1000):
        thread = threading.Thread(target=small)
        thread.start()
        began.wait()
        order.append("large")
    thread.join()
    assert order == ["large", "small"]


def test_colour_of_opencv_and_pillow_agree_with_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), colour(16)[:, :, ::-1])
    np.testing.assert_array_equal(decode(path), colour(16))
