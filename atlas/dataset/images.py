"""Images from files: one file for each channel, or one file that holds all channels.

Axes: C channels, H rows, W columns.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.core.timing import stage
from atlas.core.wording import counted
from atlas.dataset.decoders import Facts, decode_bytes, facts_of
from atlas.dataset.hpa import TINT_PLANES
from atlas.dataset.image_bytes import ImageProblem, Kind, OpenImage, opened_image
from atlas.dataset.pixel_budget import BUDGET, why_too_large
from atlas.dataset.tiff import decode_tiff, opened_tiff, tiff_facts

Pixels = NDArray[np.generic]
Counts = NDArray[np.integer[Any] | np.floating[Any]]  # uint8, or float32 for more than 8 bits
Decode = Callable[[bool], Pixels]  # the argument is whether channels are kept apart
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in gray (ITU-R BT.601)
COLOURS = 3  # planes of a picture as a viewer shows it

__all__ = [
    "ImageProblem", "decode", "decode_picture", "facts_of_image", "read_field", "resize_field",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CountRange:
    """The counts of black and white that `atlas.toml` states, or None where it states nothing."""

    min_value: float | None = None
    max_value: float | None = None


def read_field(
    files: tuple[Path, ...],
    channels: tuple[str, ...],
    *,
    max_value: float | None = None,
    min_value: float | None = None,
    size_px: int | None = None,
    whole: bool = False,
) -> NDArray[np.uint8]:
    """Read an image, uint8 C x H x W.

    Args:
        files: One file for each channel in order, or a single file if `whole` is set.
        channels: The names of the channels.
        max_value: The count that becomes 255. By default it is the largest number of the file's
            bits, or what a TIFF of floating-point numbers states. It is never chosen for each
            image, so images stay comparable.
        min_value: The count that becomes 0. By default it is 0.
        size_px: The side to which the image is resized, see `resize_field`. By default it keeps its
            size. Counts of more than 8 bits are rounded to 8 bits after resizing.
        whole: Whether the file holds all channels: a picture that has one (gray) or three (red,
            green and blue, whatever their names), see `decode_picture`, or a TIFF or OME-Zarr
            that keeps as many channels apart as there are names.

    Raises:
        ImageProblem: A file cannot be read, or the files do not fit together.
    """
    stated = CountRange(min_value=min_value, max_value=max_value)
    parts = [(files[0], channels)] if whole else list(zip(files, channels, strict=True))
    planes: list[NDArray[np.uint8]] = []
    sizes: list[tuple[int, int]] = []
    for n, (file, named) in enumerate(parts):
        # A plane is finished before the next file is decoded, which bounds the memory of a thread.
        held = len(channels) if whole else None
        with _decoding(file, held, items=int(n == 0)) as decoded:
            with stage("decoding"):
                own = (
                    _planes_of_whole(decoded, len(channels))
                    if whole
                    else [_plane_of_channel(decoded, str(named))]
                )
            sizes.append((own[0].shape[1], own[0].shape[0]))
            with stage("resizing", items=int(n == 0)):
                planes += [_finished(decoded, plane, stated, size_px) for plane in own]
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{c} {w}x{h}" for c, (w, h) in zip(channels, sizes, strict=True))
        raise ImageProblem(f"{files[0].name}: channels of different sizes: {listed}")
    return np.stack(planes)


def decode(file: Path, channels: int | None = None) -> Pixels:
    """Return the pixels of a file with its own counts: H x W, or H x W x 3 in the order R, G, B.

    Alpha is dropped, palettes are resolved, and the orientation is applied.

    Args:
        file: The file.
        channels: The number of channels that it must hold, or None for one channel. If the file
            keeps so many channels apart, the pixels are H x W x channels.

    Raises:
        ImageProblem: The file cannot be read.
    """
    with _decoding(file, channels) as decoded:
        return decoded.pixels


def decode_picture(file: Path) -> Pixels:
    """Return a picture as a viewer shows it: H x W x 3 in the order R, G, B.

    It is like `decode`, and gray is repeated over the three planes. Of an animation, the first
    frame is returned.

    Raises:
        ImageProblem: The file cannot be read.
    """
    pixels = decode(file)
    return np.dstack([pixels] * COLOURS) if pixels.ndim == 2 else pixels


def facts_of_image(image: OpenImage) -> Facts:
    """Return what the header of an open image says."""
    with _opened(image) as (facts, _):
        return facts


def resize_field(field: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Resize an image C x H x W to a square C x size x size.

    Area averaging is used to shrink, cubic interpolation to enlarge. All aspect ratios become
    square, so a stretched copy still matches its original.
    """
    if field.shape[1:] == (size_px, size_px):
        return field
    return np.stack([np.asarray(_resized(plane, size_px), np.uint8) for plane in field])


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    """The pixels of a file: H x W, H x W x 3 (R, G, B), or H x W x C if `apart` is set."""

    name: str
    facts: Facts
    pixels: Pixels = field(repr=False)
    apart: bool = False


@contextmanager
def _decoding(file: Path, channels: int | None, *, items: int = 0) -> Iterator[_Decoded]:
    """Yield the pixels of a file, which count against the pixel budget while the block runs.

    Args:
        file: The file.
        channels: The number of channels that it must hold, or None for one channel.
        items: The number of images that the stage "decoding" counts.
    """
    with ExitStack() as held:
        with opened_image(file) as image:
            facts, pixels_of = held.enter_context(_opened(image))
            apart = channels is not None and keeps_apart(facts, channels)
            if problem := why_unreadable(facts, channels):
                raise ImageProblem(f"{file.name} {problem}")
            held.enter_context(BUDGET.holding(facts.values))
            with stage("decoding", items=items):
                pixels = pixels_of(apart)
        yield _Decoded(name=file.name, facts=facts, pixels=pixels, apart=apart)


@contextmanager
def _opened(image: OpenImage) -> Iterator[tuple[Facts, Decode]]:
    """Yield what the header of an open image says, and its decoder."""
    if image.kind is Kind.TIFF:
        with opened_tiff(image.stream) as tiff:
            yield (
                tiff_facts(tiff),
                lambda apart: decode_tiff(tiff, image.content(), apart=apart),
            )
    elif image.kind is Kind.OME_ZARR:
        # zarr is an extra, and `opened_image` has checked that it is installed.
        from atlas.dataset.ome_zarr import decode_ome_zarr, ome_zarr_facts, read_ome_zarr

        zarr = read_ome_zarr(image.path)
        yield ome_zarr_facts(zarr), lambda _: decode_ome_zarr(zarr)
    elif image.kind is Kind.DICOM:
        # The same holds for pydicom.
        from atlas.dataset.dicom import decode_dicom, dicom_facts, read_dicom

        dicom = read_dicom(image.stream)
        yield dicom_facts(dicom), lambda _: decode_dicom(dicom, image.content())
    else:
        yield (
            facts_of(image.stream, image.kind),
            lambda _: decode_bytes(image.content(), image.kind),
        )


def why_unreadable(facts: Facts, channels: int | None) -> str:
    """Return why a file is refused whatever its counts are, or "".

    Args:
        facts: What the header says.
        channels: The number of channels that it must hold, or None for one channel.
    """
    return (
        facts.problem
        or why_too_large(facts.width_px, facts.height_px, facts.planes)
        or _why_other_channels(facts, channels)
    )


def keeps_apart(facts: Facts, channels: int) -> bool:
    """Return whether a file keeps all channels apart and is no picture of gray or colour."""
    return facts.channels == channels > 1


def _why_other_channels(facts: Facts, channels: int | None) -> str:
    if channels is not None and keeps_apart(facts, channels):
        return ""
    if facts.pages > 1:
        return f"has {facts.pages} pages; save each page as a file"
    if channels in (None, 1, COLOURS):
        if facts.apart:
            return (
                f"has {facts.channels} channels; name them in atlas.toml, or save each channel as "
                "an image"
            )
        return ""
    held = facts.channels or (1 if facts.gray else COLOURS)
    return f"holds {counted(held, 'channel')}, and atlas.toml names {channels}"


def _planes_of_whole(decoded: _Decoded, count: int) -> list[Pixels]:
    pixels = decoded.pixels
    if pixels.ndim == 2:
        return [pixels] * count
    if decoded.apart or count == COLOURS:
        return [np.ascontiguousarray(pixels[:, :, plane]) for plane in range(count)]
    if (pixels == pixels[:, :, :1]).all():
        return [np.ascontiguousarray(pixels[:, :, 0])]
    planes = [np.ascontiguousarray(pixels[:, :, plane]) for plane in range(COLOURS)]
    gray = sum(np.multiply(share, plane) for share, plane in zip(LUMA, planes, strict=True))
    return [np.rint(gray).astype(pixels.dtype)]


def _plane_of_channel(decoded: _Decoded, channel: str) -> Pixels:
    pixels = decoded.pixels
    return _plane_of_tinted(pixels, decoded.name, channel) if pixels.ndim == 3 else pixels


def _finished(
    decoded: _Decoded, plane: Pixels, stated: CountRange, size_px: int | None
) -> NDArray[np.uint8]:
    """Return a plane as it is kept: resized, and scaled from black and white to 0 and 255."""
    counts, black, white = _counts(decoded, plane, stated)
    return _as_bytes(counts if size_px is None else _resized(counts, size_px), black, white)


def _counts(decoded: _Decoded, plane: Pixels, stated: CountRange) -> tuple[Counts, float, float]:
    """Return the counts of a plane, and the counts of black and white.

    Counts are uint8 if black and white are 0 and 255 already.
    """
    problem = why_no_range(decoded.facts, stated)
    if problem:
        raise ImageProblem(f"{decoded.name} {problem}")
    black, white = _range(decoded.facts, stated)
    if plane.dtype == np.uint8 and (black, white) == (0, 255):
        return np.asarray(plane, dtype=np.uint8), black, white
    if not black and plane.dtype.kind == "u":
        return np.minimum(plane, white, dtype=np.float32), black, white
    counts = np.asarray(plane, np.float32)
    if decoded.facts.unbounded and np.isnan(counts).any():
        raise ImageProblem(f"{decoded.name} has pixels that are not numbers (NaN)")
    return np.clip(counts, np.float32(black), np.float32(white)), black, white


def why_no_range(facts: Facts, stated: CountRange) -> str:
    """Return why it is not known which counts are black and white, or ""."""
    if not facts.unbounded or facts.stated or stated.max_value is not None:
        return ""
    return (
        f"has {facts.unbounded} pixels of unknown range; state it with min_value and max_value "
        "in atlas.toml, or save it with integers of 8 or 16 bits"
    )


def _range(facts: Facts, stated: CountRange) -> tuple[float, float]:
    if stated.max_value is not None:
        return stated.min_value or 0, stated.max_value
    if facts.unbounded and facts.stated:
        return facts.stated
    return stated.min_value or 0, 2**facts.bits - 1


def _as_bytes(counts: Counts, black: float, white: float) -> NDArray[np.uint8]:
    if counts.dtype == np.uint8:
        return np.asarray(counts, np.uint8)
    if black:
        counts = counts - np.float32(black)
    # Cubic interpolation overshoots at edges.
    scaled = np.clip(counts * np.float32(255.0 / (white - black)), 0.0, 255.0)
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def _plane_of_tinted(pixels: Pixels, name: str, channel: str) -> Pixels:
    if channel in TINT_PLANES:
        planes = pixels[:, :, TINT_PLANES[channel]]
        if planes.shape[2] == 1:
            return np.asarray(planes[:, :, 0])
        return np.asarray(np.rint(planes.mean(axis=2)).astype(pixels.dtype))
    if not (pixels == pixels[:, :, :1]).all():
        raise ImageProblem(
            f"{name}: a colour image, but channel {channel!r} is not the name of a colour"
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
