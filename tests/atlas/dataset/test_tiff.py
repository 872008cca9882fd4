"""What TIFF files of microscopes hold beside plain gray and colour."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from atlas.dataset.image_headers import check_picture, read_header
from atlas.dataset.images import ImageProblem, decode, read_field
from tests.atlas.dataset.format_matrix import gray, tiff_of_strips

CHANNELS = ("a", "b", "c", "d")
Pixels = NDArray[np.generic]


def four_channels() -> NDArray[np.uint16]:
    plane = gray(16)
    return np.stack([plane, plane[::-1], plane[:, ::-1], 65535 - plane]).astype(np.uint16)


def in_8_bits(counts: Pixels, white: float = 65535) -> NDArray[np.uint8]:
    return np.rint(np.clip(counts, 0, white) * np.float32(255 / white)).astype(np.uint8)


def plane_of(path: Path, **stated: float) -> NDArray[np.uint8]:
    return read_field((path,), ("gray",), **stated)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "how",
    [
        {"photometric": "minisblack"},
        {"photometric": "minisblack", "ome": True, "metadata": {"axes": "CYX"}},
        {"imagej": True, "metadata": {"axes": "CYX"}},
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "minisblack", "compression": "zlib", "bigtiff": True},
    ],
    ids=["pages", "OME", "ImageJ", "planes", "BigTIFF"],
)
def test_channels_of_one_file_are_read(tmp_path: Path, how: dict[str, object]) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, four_channels(), **how)  # type: ignore[arg-type]
    found = read_field((path,), CHANNELS, whole=True)
    np.testing.assert_array_equal(found, in_8_bits(four_channels()))
    assert read_header(path, whole=True, channels=4).problem == ""


def test_samples_of_a_pixel_are_channels(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    pixels = np.moveaxis(four_channels(), 0, -1)
    extra = ["unspecified"] * 3
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig",
                     extrasamples=extra)  # fmt: skip
    found = read_field((path,), CHANNELS, whole=True)
    np.testing.assert_array_equal(found, in_8_bits(four_channels()))


def test_pages_that_are_no_channels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, four_channels(), photometric="minisblack")
    for channels, whole in ((1, False), (1, True), (3, True), (5, True)):
        said = read_header(path, whole=whole, channels=channels).problem
        assert said == "has 4 pages; save each page as a file"
    tifffile.imwrite(path, four_channels(), imagej=True, metadata={"axes": "ZYX"})
    assert read_header(path, whole=True, channels=4).problem.startswith("has 4 pages")
    with pytest.raises(ImageProblem, match=r"x.tif has 4 pages"):
        read_field((path,), CHANNELS, whole=True)
    tifffile.imwrite(path, gray(8))
    said = read_header(path, whole=True, channels=4).problem
    assert said == "holds 1 channel, and atlas.toml names 4"


def test_a_stack_of_imagej_in_one_page_is_not_read_as_an_image(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, four_channels(), imagej=True, metadata={"axes": "CYX"}, truncate=True)
    assert read_header(path).problem == "has 4 pages; save each page as a file"
    found = read_field((path,), CHANNELS, whole=True)
    np.testing.assert_array_equal(found, in_8_bits(four_channels()))


def test_a_thumbnail_is_no_page(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(gray(8), metadata=None)
        writer.write(gray(8)[::4, ::4], subfiletype=1, metadata=None)
    np.testing.assert_array_equal(decode(path), gray(8))


@pytest.mark.parametrize("layout", [0, 1])
def test_packed_counts_equal_those_of_16_bits(tmp_path: Path, layout: int) -> None:
    counts = gray(12)
    packed, plain = tmp_path / "packed.tif", tmp_path / "plain.tif"
    bits = ((4095 - counts if layout == 0 else counts)[..., None] >> np.arange(12)[::-1]) & 1
    strips = [np.packbits(bits[y : y + 8].reshape(len(bits[y : y + 8]), -1), axis=1).tobytes()
              for y in range(0, len(bits), 8)]  # fmt: skip
    packed.write_bytes(
        tiff_of_strips(strips, shape=counts.shape, bits=12, compression=1, photometric=layout)
    )
    tifffile.imwrite(plain, counts)
    np.testing.assert_array_equal(plane_of(packed), in_8_bits(counts, 4095))
    for white in (4095, 1000):
        np.testing.assert_array_equal(
            plane_of(packed, max_value=white), plane_of(plain, max_value=white)
        )


def test_the_order_of_bits_is_honoured(tmp_path: Path) -> None:
    pixels = gray(8)
    reversed_bits = np.packbits(np.unpackbits(pixels, axis=1, bitorder="little"), axis=1)
    strips = [reversed_bits[y : y + 8].tobytes() for y in range(0, len(pixels), 8)]
    (tmp_path / "x.tif").write_bytes(
        tiff_of_strips(
            strips, shape=pixels.shape, bits=8, compression=1, photometric=1, tags={266: 2}
        )
    )
    np.testing.assert_array_equal(decode(tmp_path / "x.tif"), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.tif", "x.png", "x.jpg", "x.webp"])
def test_every_orientation_is_that_of_pillow(tmp_path: Path, name: str, orientation: int) -> None:
    path = tmp_path / name
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.dstack([gray(8)] * 3)).save(path, exif=exif)
    with Image.open(path) as image:
        shown = ImageOps.exif_transpose(image)
        expected = np.asarray((shown or image).convert("RGB"))
    found = decode(path)
    np.testing.assert_array_equal(found, expected)
    header = read_header(path)
    assert (header.height_px, header.width_px) == found.shape[:2]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint32"])
def test_values_without_a_largest_one_need_a_stated_range(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "x.tif"
    values = (gray(8).astype(float) * 10 - 100).clip(0 if dtype == "uint32" else -100)
    tifffile.imwrite(path, values.astype(dtype))
    said = read_header(path).problem
    assert said.startswith(f"has {dtype} pixels of unknown range; state it with min_value and max_")
    with pytest.raises(ImageProblem, match=rf"x.tif has {dtype} pixels of unknown range"):
        plane_of(path)
    found = plane_of(path, min_value=100, max_value=2000)
    expected = np.rint((values.clip(100, 2000) - 100).astype(np.float32) * np.float32(255 / 1900))
    np.testing.assert_array_equal(found, expected)
    assert read_header(path, min_value=100, max_value=2000).problem == ""


def test_the_range_that_a_file_states_is_used(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    values = gray(8).astype(np.float32) / 255 + 2
    tags = [(340, 11, 1, 2.0, True), (341, 11, 1, 3.0, True)]
    tifffile.imwrite(path, values, extratags=tags)
    np.testing.assert_array_equal(plane_of(path), gray(8))


def test_pixels_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    values = np.ones((8, 8), np.float32)
    values[3, 3] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", values)
    with pytest.raises(ImageProblem, match=r"x.tif has pixels that are not numbers"):
        plane_of(tmp_path / "x.tif", max_value=1.0)


def test_a_compression_that_is_not_read_is_named(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, gray(8), compression="lzw", byteorder="<")
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff:
        place = tiff.pages[0].tags["Compression"].valueoffset
    content = bytearray(file.getvalue())
    content[place : place + 2] = (32809).to_bytes(2, "little")
    (tmp_path / "x.tif").write_bytes(bytes(content))
    assert read_header(tmp_path / "x.tif").problem == (
        "is compressed by THUNDERSCAN, which is not read; save it with LZW or deflate"
    )


def test_8_bits_are_refused_where_max_value_is_larger(tmp_path: Path) -> None:
    Image.fromarray(gray(8)).save(tmp_path / "gray.png")
    Image.fromarray(np.dstack([gray(8)] * 3)).save(tmp_path / "colour.png")
    Image.fromarray(gray(8)).quantize(8).save(tmp_path / "palette.png")
    for name in ("gray", "colour", "palette"):
        said = read_header(tmp_path / f"{name}.png", max_value=4095).problem
        assert said == "has 8 bits, so max_value 4095 in atlas.toml would make it black"
    assert "make it white" in read_header(tmp_path / "gray.png", max_value=1.0).problem


def test_pages_that_are_three_channels_are_a_picture(tmp_path: Path) -> None:
    pages = four_channels()[:3]
    tifffile.imwrite(
        tmp_path / "x.tif", pages, photometric="minisblack", ome=True, metadata={"axes": "CYX"}
    )
    assert check_picture(tmp_path / "x.tif").problem == ""
    field = read_field((tmp_path / "x.tif",), ("red", "green", "blue"), whole=True)
    assert field.shape == pages.shape
