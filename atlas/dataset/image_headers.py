"""Headers of image files, which are read without decoding the pixels, and checks of whole files."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ExifTags, Image

from atlas.dataset.images import READABLE, ImageProblem, decode_picture

GRAY_8_BIT = {"L", "1"}
GRAY_16_BIT = {"I;16", "I;16B", "I;16L"}
# Modes of a file that holds one channel.
MODES = GRAY_8_BIT | GRAY_16_BIT | {"RGB"}
# Modes of a picture that holds all channels. Palettes, alpha and print colours are converted.
PICTURE_MODES = MODES | {"P", "PA", "LA", "RGBA", "RGBX", "CMYK", "YCbCr"}
# The last bytes of a complete file contain these marks. A truncated file lacks them.
END_MARKS = {"PNG": b"IEND", "JPEG": b"\xff\xd9", "MPO": b"\xff\xd9"}
TAIL_BYTES = 1024  # some programs add padding behind the mark
SWAPPING_SIDES = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of an image file.

    Attributes:
        width_px: The width after the EXIF rotation.
        height_px: The height after the EXIF rotation.
        gray: Whether the header alone shows that there is no colour.
        problem: Why the file cannot be read, as the end of a sentence, or "".
    """

    width_px: int = 0
    height_px: int = 0
    gray: bool = False
    problem: str = ""


def read_header(file: Path, *, max_value: int | None = None, whole: bool = False) -> Header:
    """Read the header of a file, and check that the file is complete.

    Args:
        file: A PNG, JPEG, TIFF, BMP, WebP or GIF file.
        max_value: The entry `max_value` of `atlas.toml`.
        whole: Whether the file is a picture that holds all channels, and not just one channel.
    """
    try:
        with file.open("rb") as opened:
            image = Image.open(opened)
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            gray, rotated = _is_gray(image), whole and _is_rotated(image)
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - TAIL_BYTES))
            complete = END_MARKS.get(image.format or "", b"") in opened.read()
    except Image.DecompressionBombError as error:
        return Header(problem=f"is too large: {error}")
    except (OSError, ValueError, SyntaxError):
        return Header(problem=f"is not a readable {READABLE}")
    width_px, height_px = image.size[::-1] if rotated else image.size
    problem = _problem(image.mode, pages, complete, max_value, whole=whole)
    return Header(width_px=width_px, height_px=height_px, gray=gray, problem=problem)


def check_picture(file: Path) -> Header:
    """Return the header of a picture, with a problem also if its content is damaged.

    PNG files are checked by their checksums, JPEG files by their end, and other files by decoding.
    The result is cached in the process until the file changes.
    """
    try:
        stat = file.stat()
    except OSError as error:
        return Header(problem=f"cannot be read ({error.strerror})")
    return _checked(str(file), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=200_000)
def _checked(path: str, size: int, mtime_ns: int) -> Header:
    file = Path(path)
    header = read_header(file, whole=True)
    broken = header.problem.startswith("is truncated")
    if header.problem and not broken:
        return header
    with file.open("rb") as opened:
        kind = opened.read(4)
    try:
        if kind == b"\x89PNG" and not broken:
            with Image.open(file) as image:
                image.verify()
        elif broken or not kind.startswith(b"\xff\xd8"):
            decode_picture(file)  # phones add videos behind the end of a JPEG
    except (ImageProblem, OSError, ValueError, SyntaxError):
        return Header(problem="is damaged" if not broken else header.problem)
    return Header(width_px=header.width_px, height_px=header.height_px, gray=header.gray)


def _problem(mode: str, pages: int, complete: bool, max_value: int | None, *, whole: bool) -> str:
    if not complete:
        return "is truncated; copy it again"
    if mode not in (PICTURE_MODES if whole else MODES):
        return f"has mode {mode}; save it as gray or RGB with 8 or 16 bits"
    if pages > 1:
        return f"has {pages} pages; save each page as a file"
    if max_value is not None and max_value > 255 and mode in GRAY_8_BIT:
        return f"has 8 bits, so max_value {max_value} in atlas.toml would make it black"
    return ""


def _is_gray(image: Image.Image) -> bool:
    if image.mode == "P":
        colours = image.getpalette("RGB") or []
        return colours[::3] == colours[1::3] == colours[2::3]
    return image.mode in GRAY_8_BIT | GRAY_16_BIT | {"LA"}


def _is_rotated(image: Image.Image) -> bool:
    # Pillow rotates TIFF files itself, and would decode a PNG to find EXIF behind the pixels.
    if image.format == "TIFF" or "exif" not in image.info:
        return False
    return image.getexif().get(ExifTags.Base.Orientation) in SWAPPING_SIDES
