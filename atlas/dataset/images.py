"""Images from files: one file for each channel, or one picture that holds all channels.

Axes: C channels, H rows, W columns.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas.core.timing import stage
from atlas.dataset.hpa import TINT_PLANES

WHITE: dict[np.dtype[np.generic], int] = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
Counts = NDArray[np.integer[Any] | np.floating[Any]]  # uint8, or float32 for more than 8 bits
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in gray (ITU-R BT.601)
READABLE = "PNG, JPEG, TIFF, BMP, WebP or GIF"


class ImageProblem(ValueError):
    """A file cannot be used as a channel. The text says which file and why."""


def read_field(
    files: tuple[Path, ...],
    channels: tuple[str, ...],
    *,
    max_value: int | None = None,
    size_px: int | None = None,
    whole: bool = False,
) -> NDArray[np.uint8]:
    """Read an image, uint8 C x H x W.

    Args:
        files: One file for each channel in order, or a single file if `whole` is set.
        channels: The names of the channels.
        max_value: The count that becomes 255. By default it is the maximum of the file's type. It
            is never chosen for each image, so images stay comparable.
        size_px: The side to which the image is resized, see `resize_field`. By default it keeps its
            size. Counts of 16 bits are rounded to 8 bits after resizing.
        whole: Whether the file is a picture that holds all channels: either one (gray) or three
            (red, green and blue, whatever their names), see `decode_picture`.

    Raises:
        ImageProblem: A file cannot be read, or the files do not fit together.
    """
    with stage("decoding", items=1):
        if whole:
            planes = _planes_of_picture(files[0], len(channels), max_value)
        else:
            planes = [
                _counts(_plane_of_channel(file, channel), file, max_value)
                for file, channel in zip(files, channels, strict=True)
            ]
    sizes = {counts.shape for counts, _ in planes}
    if len(sizes) > 1:
        listed = ", ".join(
            f"{channel} {counts.shape[1]}x{counts.shape[0]}"
            for channel, (counts, _) in zip(channels, planes, strict=True)
        )
        raise ImageProblem(f"{files[0].name}: channels of different sizes: {listed}")
    with stage("resizing", items=1):
        return np.stack(
            [
                _as_bytes(counts if size_px is None else _resized(counts, size_px), white)
                for counts, white in planes
            ]
        )


def decode(file: Path) -> NDArray[np.generic]:
    """Return the pixels of a file without conversion: H x W, or H x W x 3 in the order R, G, B.

    Raises:
        ImageProblem: The file cannot be read.
    """
    pixels = _decoded(file, _encoded(file), cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3:
        if pixels.shape[2] != 3:
            raise ImageProblem(
                f"{file.name}: {pixels.shape[2]} planes (RGBA?); save it as gray or RGB"
            )
        return np.asarray(pixels[:, :, ::-1])
    return pixels


def decode_picture(file: Path) -> NDArray[np.generic]:
    """Return a picture as a viewer shows it: H x W x 3 in the order R, G, B, with 8 or 16 bits.

    The EXIF orientation is applied, palettes are resolved, gray is repeated over the three planes,
    and alpha is dropped. Of an animation, the first frame is returned.

    Raises:
        ImageProblem: The file cannot be read.
    """
    encoded = _encoded(file)
    if bytes(encoded[:4]) in TIFF_MARKS:
        return _decode_tiff(file, encoded)
    return _decoded(file, encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)


def resize_field(field: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Resize an image C x H x W to a square C x size x size.

    Area averaging is used to shrink, cubic interpolation to enlarge. All aspect ratios become
    square, so a stretched copy still matches its original.
    """
    if field.shape[1:] == (size_px, size_px):
        return field
    return np.stack([np.asarray(_resized(plane, size_px), np.uint8) for plane in field])


def _encoded(file: Path) -> NDArray[np.uint8]:
    try:
        return np.fromfile(file, dtype=np.uint8)
    except OSError as error:
        raise ImageProblem(f"{file.name}: cannot be read ({error.strerror})") from error


def _decoded(file: Path, encoded: NDArray[np.uint8], how: int) -> NDArray[np.generic]:
    """Return H x W, or H x W x planes."""
    try:
        pixels = cv2.imdecode(encoded, how) if len(encoded) else None
    except cv2.error as error:  # for example, the image has more pixels than OpenCV allows
        raise ImageProblem(f"{file.name}: cannot be decoded ({error.err})") from error
    if pixels is None:
        raise ImageProblem(f"{file.name}: not a readable {READABLE}")
    return np.asarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def _decode_tiff(file: Path, encoded: NDArray[np.uint8]) -> NDArray[np.generic]:
    """Decode a TIFF as `decode_picture` does.

    OpenCV 5.0 mixes up the pixels of 16-bit TIFF files in its colour mode and multiplies 8-bit
    colours by alpha, so files are decoded unchanged.
    """
    pixels = _decoded(file, encoded, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2:
        return np.dstack([pixels] * 3)
    if pixels.shape[2] == 4 and pixels.dtype == np.uint8:
        with Image.open(file) as opened:  # Pillow also applies the orientation of a TIFF
            return np.asarray(opened.convert("RGB"))
    if pixels.shape[2] not in (3, 4):
        raise ImageProblem(f"{file.name}: {pixels.shape[2]} planes; save it as gray, RGB or RGBA")
    return np.asarray(pixels[:, :, 2::-1])


def _planes_of_picture(file: Path, count: int, max_value: int | None) -> list[tuple[Counts, int]]:
    pixels = decode_picture(file)
    if count == 3:
        planes = [np.ascontiguousarray(pixels[:, :, plane]) for plane in range(3)]
        return [_counts(plane, file, max_value) for plane in planes]
    if (pixels == pixels[:, :, :1]).all():
        return [_counts(np.ascontiguousarray(pixels[:, :, 0]), file, max_value)]
    planes = [np.ascontiguousarray(pixels[:, :, plane]) for plane in range(3)]
    gray = sum(share * plane for share, plane in zip(LUMA, planes, strict=True))
    return [_counts(np.rint(gray).astype(pixels.dtype), file, max_value)]


def _plane_of_channel(file: Path, channel: str) -> NDArray[np.generic]:
    pixels = decode(file)
    return _plane_of_tinted(pixels, file, channel) if pixels.ndim == 3 else pixels


def _counts(plane: NDArray[np.generic], file: Path, max_value: int | None) -> tuple[Counts, int]:
    """Return the counts and the count that becomes 255. Counts are uint8 if that is 255 already."""
    if plane.dtype not in WHITE:
        raise ImageProblem(
            f"{file.name}: {plane.dtype} pixels; save it with integers of 8 or 16 bits"
        )
    white = WHITE[plane.dtype] if max_value is None else max_value
    if plane.dtype == np.uint8 and white == 255:
        return np.asarray(plane, dtype=np.uint8), white
    return np.minimum(plane, white, dtype=np.float32), white


def _as_bytes(counts: Counts, white: int) -> NDArray[np.uint8]:
    if counts.dtype == np.uint8:
        return np.asarray(counts, np.uint8)
    # Cubic interpolation overshoots at edges.
    scaled = np.clip(counts * np.float32(255.0 / white), 0.0, 255.0)
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def _plane_of_tinted(pixels: NDArray[np.generic], file: Path, channel: str) -> NDArray[np.generic]:
    if channel in TINT_PLANES:
        planes = pixels[:, :, TINT_PLANES[channel]]
        if planes.shape[2] == 1:
            return np.asarray(planes[:, :, 0])
        return np.asarray(np.rint(planes.mean(axis=2)).astype(pixels.dtype))
    if not (pixels == pixels[:, :, :1]).all():
        raise ImageProblem(
            f"{file.name}: a colour image, but channel {channel!r} is not the name of a colour"
        )
    return np.asarray(pixels[:, :, 0])


def _resized(plane: Counts, size_px: int) -> Counts:
    # Planes are resized one by one. Stacking the channels first costs more time than resizing
    # them together saves.
    if plane.shape == (size_px, size_px):
        return plane
    shrinks = plane.shape[0] * plane.shape[1] > size_px * size_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(plane, (size_px, size_px), interpolation=how), plane.dtype)
