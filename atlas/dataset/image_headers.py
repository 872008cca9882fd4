"""Headers of image files, which are read without decoding the pixels, and checks of whole files."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from atlas.dataset.decoders import Facts
from atlas.dataset.image_bytes import ImageProblem, Kind, breaks_off, opened_image, verify_png
from atlas.dataset.image_folders import FolderProblem, signature_of
from atlas.dataset.images import (
    COLOURS,
    CountRange,
    decode,
    facts_of_image,
    why_no_range,
    why_unreadable,
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of an image file.

    Attributes:
        width_px: The width after the orientation was applied.
        height_px: The height after the orientation was applied.
        gray: Whether the header alone shows that there is no colour.
        problem: Why the file cannot be used, as the end of a sentence, or "".
    """

    width_px: int = 0
    height_px: int = 0
    gray: bool = False
    problem: str = ""


def read_header(
    file: Path,
    *,
    max_value: float | None = None,
    min_value: float | None = None,
    whole: bool = False,
    channels: int = 3,
) -> Header:
    """Read the header of a file, and check that the file is complete.

    Args:
        file: A PNG, JPEG, TIFF, BMP, WebP, GIF or DICOM file, or an OME-Zarr folder.
        max_value: The entry `max_value` of `atlas.toml`.
        min_value: The entry `min_value` of `atlas.toml`.
        whole: Whether the file holds all channels, and not just one of them.
        channels: The number of channels that it must hold then.
    """
    try:
        with opened_image(file) as image:
            facts = facts_of_image(image)
            problem = why_unreadable(facts, channels if whole else None)
            if not problem and breaks_off(image.stream, image.kind):
                problem = "is truncated; copy it again"
    except ImageProblem as found:
        return Header(problem=str(found).removeprefix(f"{file.name} "))
    stated = CountRange(min_value=min_value, max_value=max_value)
    return Header(
        width_px=facts.width_px,
        height_px=facts.height_px,
        gray=facts.gray,
        problem=problem or why_no_range(facts, stated) or _why_other_depth(facts, max_value),
    )


def check_picture(file: Path) -> Header:
    """Return the header of a picture, with a problem also if its content is damaged.

    The whole file is decoded, except that the checksums of a PNG show damage, too, and take less
    time. The result is cached in the process until the file changes.
    """
    try:
        signature = signature_of(file)
    except (OSError, FolderProblem):
        return read_header(file, whole=True)
    return _checked(str(file), signature)


@lru_cache(maxsize=200_000)
def _checked(path: str, signature: str) -> Header:
    file = Path(path)
    header = read_header(file, whole=True)
    if header.problem:
        return header
    try:
        with opened_image(file) as image:
            if image.kind is Kind.PNG:
                verify_png(image.stream)
                return header
        decode(file, COLOURS)
    except ImageProblem:
        return Header(problem="is damaged")
    return header


def _why_other_depth(facts: Facts, max_value: float | None) -> str:
    """Return why the counts of a file cannot be those of the atlas, or ""."""
    if max_value is None or facts.unbounded:
        return ""
    if facts.bits == 8 and max_value > 255:
        return f"has 8 bits, so max_value {max_value} in atlas.toml would make it black"
    if isinstance(max_value, float) and max_value <= 1:
        return f"has {facts.bits} bits, so max_value {max_value} in atlas.toml would make it white"
    return ""
