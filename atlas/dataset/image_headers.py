"""What an image file says of itself, read without decoding it, and whether it can be read."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ExifTags, Image

from atlas.dataset.images import READABLE, ImageProblem, decode_picture

GRAY_8_BIT = {"L", "1"}
GRAY_16_BIT = {"I;16", "I;16B", "I;16L"}
# Of a file that holds one channel.
MODES = GRAY_8_BIT | GRAY_16_BIT | {"RGB"}
# Of a picture that holds all channels: palettes, alpha and print colours are resolved.
PICTURE_MODES = MODES | {"P", "PA", "LA", "RGBA", "RGBX", "CMYK", "YCbCr"}
# What the last bytes of a complete file hold; a copy that broke off lacks it.
END_MARKS = {"PNG": b"IEND", "JPEG": b"\xff\xd9", "MPO": b"\xff\xd9"}
TAIL_BYTES = 1024  # some writers pad behind the mark
TURNED = (5, 6, 7, 8)  # orientations of EXIF that swap width and height


@dataclass(frozen=True, kw_only=True)
class Header:
    """width_px, height_px: as the file is shown, so after a rotation by EXIF.

    gray: whether the header alone shows that there is no colour.
    problem: why the file cannot be read, as the end of a sentence, or "".
    """

    width_px: int = 0
    height_px: int = 0
    gray: bool = False
    problem: str = ""


def read_header(file: Path, *, max_value: int | None = None, whole: bool = False) -> Header:
    """Read a file's header, and look whether its end is there.

    Args:
        file: PNG, JPEG, TIFF, BMP, WebP or GIF.
        max_value: That of `atlas.toml`.
        whole: The file is a picture that holds all channels, and not that of one channel.
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
    """Return the header of a picture, with a problem also where its content is damaged.

    PNG is checked by its checksums, JPEG by its end, and the other kinds by decoding them. A
    process remembers the result as long as the file is the same.
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
    broken = header.problem.startswith("breaks off")
    if header.problem and not broken:
        return header
    with file.open("rb") as opened:
        kind = opened.read(4)
    try:
        if kind == b"\x89PNG" and not broken:
            with Image.open(file) as image:
                image.verify()
        elif broken or not kind.startswith(b"\xff\xd8"):
            decode_picture(file)  # phones put films behind the end of a JPEG
    except (ImageProblem, OSError, ValueError, SyntaxError):
        return Header(problem="is damaged" if not broken else header.problem)
    return Header(width_px=header.width_px, height_px=header.height_px, gray=header.gray)


def _problem(mode: str, pages: int, complete: bool, max_value: int | None, *, whole: bool) -> str:
    if not complete:
        return "breaks off before its end; copy it again"
    if mode not in (PICTURE_MODES if whole else MODES):
        return f"has mode {mode}; gray or RGB, 8 or 16 bit, is read"
    if pages > 1:
        return f"has {pages} pages; save each one as a file of one page"
    if max_value is not None and max_value > 255 and mode in GRAY_8_BIT:
        return f"has 8 bit, and max_value {max_value} in atlas.toml would make it black"
    return ""


def _is_gray(image: Image.Image) -> bool:
    if image.mode == "P":
        colours = image.getpalette("RGB") or []
        return colours[::3] == colours[1::3] == colours[2::3]
    return image.mode in GRAY_8_BIT | GRAY_16_BIT | {"LA"}


def _is_rotated(image: Image.Image) -> bool:
    # Pillow rotations TIFF itself, and would decode a PNG to look for what stands behind its pixels.
    if image.format == "TIFF" or "exif" not in image.info:
        return False
    return image.getexif().get(ExifTags.Base.Orientation) in TURNED
