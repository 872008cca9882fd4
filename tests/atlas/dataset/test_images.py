"""All kinds of files that can hold a channel give the same uint8 plane, or a clear error."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from atlas.dataset.images import ImageProblem, read_field, resize_field

Pixels = NDArray[np.uint8]


def read_channel(file: Path, channel: str, *, max_value: int | None = None) -> NDArray[np.uint8]:
    return read_field((file,), (channel,), max_value=max_value)[0]


@pytest.fixture
def plane() -> Pixels:
    y, x = np.mgrid[:24, :40]
    return (x * 6 + y * 0.8).astype(np.uint8)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("stored_as", ["8 bit", "16 bit", "gray as RGB", "16 bit gray as RGB"])
def test_lossless_files_give_their_pixels(
    tmp_path: Path, plane: Pixels, ending: str, stored_as: str
) -> None:
    pixels = plane.astype(np.uint16) * 257 if "16 bit" in stored_as else plane
    if "RGB" in stored_as:
        pixels = np.dstack([pixels] * 3)
    path = tmp_path / f"x.{ending}"
    assert cv2.imwrite(str(path), pixels)
    for channel in ("gray", "red", "yellow"):
        np.testing.assert_array_equal(read_channel(path, channel), plane)


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_one_bit_becomes_black_and_white(tmp_path: Path, plane: Pixels, name: str) -> None:
    Image.fromarray(plane > 100).save(tmp_path / name)
    np.testing.assert_array_equal(
        read_channel(tmp_path / name, "gray"), np.where(plane > 100, 255, 0)
    )


def test_max_value_maps_to_white_and_clips(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    cv2.imwrite(str(path), np.array([[0, 2047, 4095, 60000]], np.uint16))
    assert read_channel(path, "gray", max_value=4095).tolist() == [[0, 127, 255, 255]]
    assert read_channel(path, "gray").tolist() == [[0, 8, 16, 233]]


def test_scaling_never_depends_on_the_image(tmp_path: Path) -> None:
    for name, value in (("dim", 1000), ("bright", 4000)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 4), value, np.uint16))
    dim, bright = (read_channel(tmp_path / f"{n}.png", "gray") for n in ("dim", "bright"))
    assert (dim.max(), bright.max()) == (4, 16)


@pytest.mark.parametrize(
    ("channel", "planes"), [("red", (0,)), ("green", (1,)), ("blue", (2,)), ("yellow", (0, 1))]
)
def test_tinted_jpegs_of_hpa_v18_give_their_channel(
    tmp_path: Path, plane: Pixels, channel: str, planes: tuple[int, ...]
) -> None:
    tinted = np.zeros((*plane.shape, 3), np.uint8)
    tinted[:, :, planes] = plane[:, :, None]
    path = tmp_path / f"x_{channel}.jpg"
    # The files are published with full colour resolution and high quality.
    Image.fromarray(tinted).save(path, quality=95, subsampling=0)
    difference = read_channel(path, channel).astype(int) - plane
    assert np.abs(difference).max() <= 12
    assert abs(difference.mean()) < 1


def test_a_colour_image_needs_a_channel_named_by_a_colour(tmp_path: Path, plane: Pixels) -> None:
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), np.dstack([plane, plane // 2, plane]))
    with pytest.raises(ImageProblem, match=r"x.png: a colour image, but channel 'gray'"):
        read_channel(path, "gray")


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("x.tif", "F", "x.tif has float32 pixels of unknown range; state it with min_value"),
        ("x.tif", "I", "x.tif has int32 pixels"),
    ],
)
def test_other_kinds_of_pixels_are_refused(
    tmp_path: Path, plane: Pixels, name: str, mode: str, said: str
) -> None:
    Image.fromarray(plane).convert(mode).save(tmp_path / name)
    with pytest.raises(ImageProblem, match=said):
        read_channel(tmp_path / name, "red")


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif"])
@pytest.mark.parametrize("kept", [0, 0.6, 0.97])
def test_truncated_files_are_refused(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageProblem, match=rf"{name} is (empty|truncated|not a readable)"):
        read_channel(path, "gray")


def test_a_changed_byte_in_a_png_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ImageProblem, match="is not a readable PNG"):
        read_channel(path, "gray")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "none.png", "does not exist")):
        with pytest.raises(ImageProblem, match=said):
            read_channel(path, "gray")


def test_channels_keep_their_order_and_must_have_one_size(tmp_path: Path, plane: Pixels) -> None:
    files = []
    for n, pixels in enumerate((plane, plane // 2)):
        files.append(tmp_path / f"{n}.png")
        cv2.imwrite(str(files[-1]), pixels)
    field = read_field(tuple(files), ("a", "b"))
    np.testing.assert_array_equal(field, np.stack([plane, plane // 2]))
    cv2.imwrite(str(files[1]), plane[:10])
    with pytest.raises(ImageProblem, match="channels of different sizes: a 40x24, b 40x10"):
        read_field(tuple(files), ("a", "b"))


def test_images_are_resized_to_squares(plane: Pixels) -> None:
    field = np.stack([plane, plane])
    for size in (8, 24, 64):
        resized = resize_field(field, size)
        assert resized.shape == (2, size, size)
        assert resized.dtype == np.uint8
        assert abs(float(resized.mean()) - float(field.mean())) < 3
    square = resize_field(field, 16)
    assert resize_field(square, 16) is square


def test_shrinking_averages() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert set(resize_field(board[None], 32).ravel().tolist()) <= {127, 128}


@pytest.mark.parametrize(
    ("block", "max_value", "expected"),
    [
        # 128 counts of 65535 are 0.498 gray levels. If they were rounded first, all would be 0.
        ([128, 128, 128, 132], None, 1),
        # Counts above white are clipped before they are averaged: 1000 / 4 of 1000.
        ([65535, 0, 0, 0], 1000, 64),
    ],
)
def test_16_bits_are_kept_until_the_image_is_resized(
    tmp_path: Path, block: list[int], max_value: int | None, expected: int
) -> None:
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), np.tile(np.array(block, np.uint16).reshape(2, 2), (8, 8)))
    field = read_field((path,), ("gray",), max_value=max_value, size_px=8)
    np.testing.assert_array_equal(field, np.full((1, 8, 8), expected))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_enlarging_an_edge_keeps_black_and_white(tmp_path: Path, depth: type) -> None:
    path = tmp_path / "x.png"
    edge = np.zeros((8, 8), depth)
    edge[:, 4:] = np.iinfo(depth).max
    cv2.imwrite(str(path), edge)
    (enlarged,) = read_field((path,), ("gray",), size_px=32)
    assert (enlarged[:, :16] < 128).all()
    assert (enlarged[:, 16:] > 127).all()


@pytest.mark.parametrize("size_px", [8, 24, 64])
def test_8_bits_are_resized_without_conversion(tmp_path: Path, plane: Pixels, size_px: int) -> None:
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), plane)
    own_size = read_field((path,), ("gray",))
    np.testing.assert_array_equal(
        read_field((path,), ("gray",), size_px=size_px), resize_field(own_size, size_px)
    )
