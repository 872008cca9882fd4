"""TIFF files: what the header says, and the pixels as gray, colour or separate channels.

It reads what microscopes write: OME-TIFF and ImageJ TIFF, strips and tiles, packed bits,
WhiteIsZero, floating-point numbers, and channels as pages, as planes or as samples of a pixel.

Axes: H rows, W columns, S samples of a pixel, C channels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from atlas.dataset.decoders import SWAPPING_SIDES, Facts, upright
from atlas.dataset.tiff_pages import (
    JPEG,
    OF_BYTES,
    OF_IMAGES,
    SAMPLE_KINDS,
    bits_of,
    last_byte,
    page_pixels,
)

Pixels = NDArray[np.generic]

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, SEPARATED: 4, YCBCR: 3}
ALPHA = (1, 2)  # ExtraSamples: associated and unassociated alpha
ORIENTATION, LOWEST, HIGHEST = 274, 340, 341  # tags; the last two state a range of values
MOST_PAGES = 10_000
OTHER_AXES = "YXS"
CHANNEL_AXES = "CIQ"  # pages along the other axes are slices or times


@contextmanager
def opened_tiff(stream: BinaryIO) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF from a stream, which stays open."""
    stream.seek(0)
    with tifffile.TiffFile(stream) as tiff:
        yield tiff


def tiff_facts(tiff: tifffile.TiffFile) -> Facts:
    """Return what the header of a TIFF says.

    Raises:
        Exception: The header is damaged. Its class depends on the library.
    """
    return _facts(tiff, _full_pages(tiff), tiff.filehandle.size)


def decode_tiff(tiff: tifffile.TiffFile, data: bytes, *, apart: bool) -> Pixels:
    """Return the pixels of a TIFF: H x W, H x W x 3 (R, G, B), or H x W x C if `apart` is set.

    The orientation is applied, palettes are resolved, WhiteIsZero is inverted, and alpha is
    dropped.

    Args:
        tiff: The open file.
        data: The bytes of the file.
        apart: Whether to return the channels that the file keeps apart, see `Facts.channels`.

    Raises:
        Exception: The file is damaged. Its class depends on the library.
    """
    pages = _full_pages(tiff)
    if apart and len(pages) > 1:
        pixels = np.concatenate([_counts(page, data) for page in pages], axis=2)
    elif apart and _count_of_planes(tiff, pages) > 1:
        planes = np.asarray(tiff.series[0].asarray(maxworkers=1))
        pixels = np.moveaxis(planes.reshape(-1, *_plane_shape(pages[0])), 0, -1)
    else:
        pixels = _counts(pages[0], data) if apart else _as_shown(pages[0], data)
    return upright(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, _orientation(pages[0]))


def _facts(tiff: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage], size: int) -> Facts:
    page = pages[0]
    width, height = int(page.imagewidth), int(page.imagelength)
    if _orientation(page) in SWAPPING_SIDES:
        width, height = height, width
    planes, samples = _count_of_planes(tiff, pages), _samples_without_alpha(page)
    bits = bits_of(page)
    return Facts(
        width_px=width,
        height_px=height,
        planes=3 if page.photometric == PALETTE else int(page.samplesperpixel),
        bits=bits if bits > 8 and page.photometric != PALETTE else 8,
        unbounded=_unbounded(page),
        gray=samples == 1 and page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO),
        pages=planes,
        channels=_channels(tiff, pages, planes, samples),
        stated=_stated(page),
        problem=_problem(page, pages, size),
    )


def _unbounded(page: tifffile.TiffPage) -> str:
    names = {"u": "uint", "i": "int", "f": "float"}
    kind, bits = SAMPLE_KINDS.get(int(page.sampleformat or 1), "f"), bits_of(page)
    return "" if kind == "u" and bits <= 16 else f"{names[kind]}{bits}"


def _channels(
    tiff: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage], planes: int, samples: int
) -> int:
    """Return how many channels the file keeps apart, or 0 if its pages are something else."""
    if planes == 1:
        return 0 if samples == 3 and pages[0].photometric in (RGB, YCBCR) else samples
    alike = {(page.shape, page.dtype, page.photometric) for page in pages}
    gray = pages[0].photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and samples == 1
    series = tiff.series[0]
    axes = {axis for axis, n in zip(series.axes, series.shape, strict=True) if n > 1}
    if len(alike) > 1 or not gray or axes - {*OTHER_AXES, *CHANNEL_AXES}:
        return 0
    return planes


def _count_of_planes(tiff: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage]) -> int:
    """Return the number of pages. ImageJ may describe a stack in a single one."""
    if len(pages) > 1 or not (tiff.is_imagej or tiff.is_ome or tiff.is_shaped):
        return len(pages)
    series = tiff.series[0]
    counts = zip(series.axes, series.shape, strict=True)
    return int(np.prod([n for axis, n in counts if axis not in OTHER_AXES], initial=1))


def _plane_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    return page.imagelength, page.imagewidth


def _problem(page: tifffile.TiffPage, pages: Sequence[tifffile.TiffPage], size: int) -> str:
    compression = int(page.compression)
    if compression != 1 and compression not in OF_BYTES and compression not in OF_IMAGES:
        name = getattr(page.compression, "name", f"method {compression}")
        return f"is compressed by {name}, which is not read; save it with LZW or deflate"
    if page.imagedepth > 1:
        return "has several slices in depth; save each slice as a file"
    if page.photometric not in SAMPLES or (page.photometric == YCBCR and compression != JPEG):
        name = getattr(page.photometric, "name", page.photometric)
        return f"has colours of kind {name}; save it as gray or RGB with 8 or 16 bits"
    if page.samplesperpixel < SAMPLES[page.photometric]:
        return f"has {page.samplesperpixel} planes of {SAMPLES[page.photometric]}; save it again"
    if any(last_byte(one) > size for one in pages):
        return "is truncated; copy it again"
    return ""


def _samples_without_alpha(page: tifffile.TiffPage) -> int:
    """Return the samples of a pixel that are channels."""
    extra = [int(kind) for kind in page.extrasamples or ()]
    return int(page.samplesperpixel) - sum(kind in ALPHA for kind in extra)


def _counts(page: tifffile.TiffPage, data: bytes) -> Pixels:
    """Return the samples as counts from black to white, H x W x S, without alpha."""
    pixels = page_pixels(page, data)[:, :, : _samples_without_alpha(page)]
    bits = bits_of(page)
    if bits < 8:  # as every viewer does; 255 is a multiple of the white of 1, 2 and 4 bits
        pixels = np.rint(np.multiply(pixels, 255 / (2**bits - 1))).astype(np.uint8)
        bits = 8
    if page.photometric == WHITE_IS_ZERO:
        if pixels.dtype.kind != "u":
            raise ValueError("WhiteIsZero has no meaning without a largest value")
        pixels = np.subtract(2**bits - 1, pixels, dtype=pixels.dtype)
    return np.asarray(pixels)


def _as_shown(page: tifffile.TiffPage, data: bytes) -> Pixels:
    """Return a page as gray (H x W x 1) or colour (H x W x 3)."""
    if page.photometric == PALETTE:
        return _coloured(page, page_pixels(page, data)[:, :, 0])
    if page.photometric == SEPARATED:
        inks = np.ascontiguousarray(page_pixels(page, data)[:, :, :4])
        if inks.dtype != np.uint8:
            raise ValueError("print colours of 8 bits only")
        return np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))
    counts = _counts(page, data)
    return counts[:, :, :3] if page.photometric in (RGB, YCBCR) else counts[:, :, :1]


def _coloured(page: tifffile.TiffPage, indexes: Pixels) -> Pixels:
    colours = np.asarray(page.colormap)
    # Colours have 16 bits. Some old programs write 8 bits, and libtiff reads them so.
    eight = colours >> 8 if colours.max(initial=0) > 255 else colours
    return np.moveaxis(eight.astype(np.uint8)[:, indexes.astype(np.intp)], 0, -1)


def _orientation(page: tifffile.TiffPage) -> int:
    value = page.tags.valueof(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1


def _stated(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Return the range of values that the tags of the file state, or None."""
    low, high = (_number(page.tags.valueof(tag)) for tag in (LOWEST, HIGHEST))
    if low is None or high is None or not low < high:
        return None
    return low, high


def _number(value: Any) -> float | None:
    first = value[0] if isinstance(value, tuple) and value else value
    return float(first) if isinstance(first, int | float) else None


def _full_pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return the pages without thumbnails and masks. There is at least one.

    Raises:
        ValueError: There is none.
    """
    pages = [page for page in _every_page(tiff) if not (page.subfiletype or 0) & 0b101]
    if not pages:
        raise ValueError("the file has no pages")
    return pages


def _every_page(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """Yield all pages, with bounds, because tifffile follows a damaged chain of pages for ever."""
    seen: set[int] = set()
    tiff.pages.useframes = False
    for one in tiff.pages:
        page = one.aspage()
        if page.offset in seen:
            raise ValueError("the chain of pages is damaged")
        seen.add(page.offset)
        if len(seen) > MOST_PAGES:
            raise ValueError(f"the file has more than {MOST_PAGES} pages")
        yield page
