"""Decoders of PNG, JPEG, BMP, WebP and GIF, which refuse files whose decoder reports damage.

Every library is one that reports damage as an error: OpenCV prints it to the terminal, and the
rest of the image becomes gray.
Axes: H rows, W columns.
"""

import io
import re
import struct
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image

from atlas.dataset.image_bytes import Kind, jpeg_end, jpeg_segments, png_chunks

Pixels = NDArray[np.generic]
SWAPPING_SIDES = (5, 6, 7, 8)  # orientations that swap width and height
# What Pillow may open. It knows other formats, some of which start programs.
PILLOW_FORMATS = {
    Kind.JPEG: ("JPEG", "MPO"),
    Kind.BMP: ("BMP", "DIB"),
    Kind.WEBP: ("WEBP",),
    Kind.GIF: ("GIF",),
}
PNG_COLOURS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # planes by the colour type of the header

# Sizes are bounded by `pixel_budget`, which knows what other threads decode.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the header of a file says.

    Attributes:
        width_px: The width after the orientation of EXIF or TIFF was applied.
        height_px: The height after the orientation was applied.
        planes: The number of planes that are decoded, with alpha.
        bits: The bits of a value.
        unbounded: The type of values from which no range follows, such as float32, or "".
        gray: Whether the header alone shows that there is no colour.
        pages: The number of pages.
        channels: The number of channels of an image that keeps each channel apart, or 0.
        apart: Whether its channels are no picture together, so that the atlas must name them.
        beside: The number of values that are decoded beside the image.
        stated: The values of black and white that the file states, or None.
        problem: Why the file is refused, or "".
    """

    width_px: int
    height_px: int
    planes: int
    bits: int = 8
    unbounded: str = ""
    gray: bool = False
    pages: int = 1
    channels: int = 0
    apart: bool = False
    beside: int = 0
    stated: tuple[float, float] | None = None
    problem: str = ""

    @property
    def values(self) -> int:
        """The number of values that are decoded at a time."""
        image = self.width_px * self.height_px * max(1, self.planes) * max(1, self.pages)
        return image + self.beside


def facts_of(stream: BinaryIO, kind: Kind) -> Facts:
    """Return what the header of a PNG, JPEG, BMP, WebP or GIF says."""
    if kind is Kind.PNG:
        return _png_facts(stream)
    return _jpeg_facts(stream) if kind is Kind.JPEG else _pillow_facts(stream, kind)


def decode_bytes(data: bytes, kind: Kind) -> Pixels:
    """Return the pixels of a PNG, JPEG, BMP, WebP or GIF: H x W, or H x W x 3 (R, G, B).

    Alpha is dropped, palettes are resolved, and the orientation of EXIF is applied. Of an
    animation, the first frame is returned.

    Raises:
        Exception: The file is damaged. Its class depends on the library.
    """
    if kind is Kind.PNG:
        pixels, orientation = imagecodecs.png_decode(data), _png_orientation(io.BytesIO(data))
    elif kind is Kind.JPEG:
        pixels, orientation = decode_jpeg(data), _jpeg_orientation(io.BytesIO(data))
    else:
        pixels, orientation = _by_pillow(data, kind), _exif_orientation(data, kind)
    return upright(without_alpha(pixels), orientation)


def decode_jpeg(data: bytes) -> Pixels:
    """Return the pixels of a JPEG, H x W or H x W x 3.

    Raises:
        ValueError: The decoder gave an error or a warning: the file is damaged.
    """
    try:
        colours = simplejpeg.decode_jpeg_header(data)[2]
    except ValueError as error:
        if "subsampling" in str(error):  # libjpeg's short interface has no name for it
            return _by_pillow(data, Kind.JPEG)
        raise
    space = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(colours, "RGB")
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, space)
    except ValueError as error:
        if not _is_padding(data, str(error)):
            raise
        pixels = simplejpeg.decode_jpeg(data, space, strict=False)
    if space == "CMYK":  # Pillow knows whether the inks are inverted
        return _by_pillow(data, Kind.JPEG)
    return pixels[:, :, 0] if space == "GRAY" else pixels


def without_alpha(pixels: Pixels) -> Pixels:
    """Return H x W or H x W x 3 of an image with one to four planes."""
    if pixels.ndim == 2:
        return pixels
    return pixels[:, :, 0] if pixels.shape[2] in (1, 2) else pixels[:, :, :3]


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Return an image as a viewer shows it, from its orientation in EXIF or TIFF (1 to 8)."""
    if orientation in SWAPPING_SIDES:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _is_padding(data: bytes, warning: str) -> bool:
    """Return whether the decoder warned only of padding between the last pixel and the end mark.

    Some cameras write it. The pixels in front of it are whole.
    """
    said = re.search(r"(\d+) extraneous bytes? before marker 0xd9", warning)
    end = jpeg_end(data)
    if not said or end is None:
        return False
    extra = data[max(0, end - int(said[1])) : end]
    return not extra.strip(b"\0") or not extra.strip(b"\xff")


def _png_facts(stream: BinaryIO) -> Facts:
    stream.seek(8)
    length, name, width, height, bits, colour = struct.unpack(">I4sIIBB", stream.read(18))
    if (length, name) != (13, b"IHDR") or colour not in PNG_COLOURS:
        raise ValueError("the first chunk is not IHDR")
    gray = colour in (0, 4) or (colour == 3 and _has_gray_palette(stream))
    if _png_orientation(stream) in SWAPPING_SIDES:
        width, height = height, width
    return Facts(
        width_px=width, height_px=height, planes=PNG_COLOURS[colour], gray=gray,
        bits=8 if colour == 3 else max(8, bits),
    )  # fmt: skip


def _has_gray_palette(stream: BinaryIO) -> bool:
    for name, offset, length in png_chunks(stream):
        if name == b"PLTE":
            stream.seek(offset)
            colours = stream.read(length)
            return colours[::3] == colours[1::3] == colours[2::3]
    return False


def _png_orientation(stream: BinaryIO) -> int:
    for name, offset, length in png_chunks(stream):
        if name == b"eXIf":
            stream.seek(offset)
            return _orientation_in(stream.read(length))
    return 1


def _orientation_in(exif: bytes) -> int:
    """Return the orientation in a block of EXIF, or 1 if it cannot be read, as viewers do."""
    try:
        found = Image.Exif()
        found.load(exif)
        return _valid(found.get(ExifTags.Base.Orientation))
    except Exception:
        return 1


def _jpeg_facts(stream: BinaryIO) -> Facts:
    for marker, offset, _ in jpeg_segments(stream):
        # All frames but the tables C4, C8 and CC, which are numbered among them.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            stream.seek(offset)
            bits, height, width, planes = struct.unpack(">BHHB", stream.read(6))
            if _jpeg_orientation(stream) in SWAPPING_SIDES:
                width, height = height, width
            return Facts(
                width_px=width, height_px=height, planes=planes, bits=bits, gray=planes == 1
            )
    raise ValueError("the file has no frame")


def _jpeg_orientation(stream: BinaryIO) -> int:
    for marker, offset, length in jpeg_segments(stream):
        if marker == 0xE1:
            stream.seek(offset)
            if (exif := stream.read(length)).startswith(b"Exif\0\0"):
                return _orientation_in(exif)
    return 1


def _exif_orientation(data: bytes, kind: Kind) -> int:
    if b"EXIF" not in data:
        return 1
    with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS[kind]) as image:
        return _orientation_of(image)


def _orientation_of(image: Image.Image) -> int:
    exif = image.info.get("exif")
    return _orientation_in(exif) if isinstance(exif, bytes) else 1


def _valid(orientation: Any) -> int:
    return int(orientation) if orientation in range(1, 9) else 1


def _pillow_facts(stream: BinaryIO, kind: Kind) -> Facts:
    stream.seek(0)
    with Image.open(stream, formats=PILLOW_FORMATS[kind]) as image:
        width, height = image.size
        if _orientation_of(image) in SWAPPING_SIDES:
            width, height = height, width
        return Facts(
            width_px=width, height_px=height, planes=len(image.getbands()), gray=_is_gray(image)
        )


def _is_gray(image: Image.Image) -> bool:
    if image.mode == "P":
        colours = image.getpalette("RGB") or []
        return colours[::3] == colours[1::3] == colours[2::3]
    return image.mode in ("1", "L", "LA")


def _by_pillow(data: bytes, kind: Kind) -> Pixels:
    with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS[kind]) as image:
        if image.mode in ("1", "L", "LA"):
            return np.asarray(image.convert("L"))
        if image.mode == "RGBA":
            return np.asarray(image)[:, :, :3]
        return np.asarray(image.convert("RGB"))
