"""The pixels of one page of a TIFF.

tifffile reads the tags and imagecodecs decompresses. Strips and tiles are put together here,
because each must have exactly the length that the header says: libtiff and tifffile fill what is
missing, so a damaged file would give other pixels in silence.

Axes: H rows, W columns, S samples of a pixel.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

Pixels = NDArray[np.generic]
Decompress = Callable[..., bytes | bytearray]

# Compressions of bytes, whose result is checked here.
OF_BYTES: dict[int, Decompress] = {
    5: imagecodecs.lzw_decode,
    8: imagecodecs.zlib_decode,
    32946: imagecodecs.zlib_decode,
    32773: imagecodecs.packbits_decode,
    34925: imagecodecs.lzma_decode,
    50000: imagecodecs.zstd_decode,
    34926: imagecodecs.zstd_decode,
}
CCITT, JPEG = (2, 3, 4), 7
# Compressions of whole strips and tiles as images: JPEG 2000, LERC, PNG, WebP and JPEG XL.
OF_IMAGES = (*CCITT, JPEG, 33003, 33005, 34712, 34887, 34933, 50001, 50002, 52546)
SAMPLE_KINDS = {1: "u", 2: "i", 3: "f"}
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # predictors


def page_pixels(page: tifffile.TiffPage, data: bytes) -> Pixels:
    """Return the samples of a page, H x W x S, without any conversion of colours.

    Args:
        page: The page.
        data: The bytes of the whole file.

    Raises:
        Exception: The page is damaged. Its class depends on the library.
    """
    grid = _grid_of(page)
    if len(page.dataoffsets) != grid.count or len(page.databytecounts) != grid.count:
        raise ValueError("the file does not list as many strips or tiles as it has")
    if page.compression in OF_IMAGES:
        return _by_image_codec(page, grid, data)
    planes = [_plane(page, grid, data, plane) for plane in range(grid.planes)]
    return planes[0] if len(planes) == 1 else np.dstack([plane[..., 0] for plane in planes])


def bits_of(page: tifffile.TiffPage) -> int:
    """Return the bits of a sample.

    Raises:
        ValueError: The samples of a pixel have different sizes.
    """
    if not isinstance(page.bitspersample, int):
        raise ValueError("the samples of a pixel have different sizes")
    return page.bitspersample


def last_byte(page: tifffile.TiffPage) -> int:
    """Return the offset behind the last strip or tile."""
    return max(
        (int(a) + int(b) for a, b in zip(page.dataoffsets, page.databytecounts, strict=False)),
        default=0,
    )


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """How strips or tiles cover a page.

    Attributes:
        planes: The number of planes that are stored one after another.
        samples: The samples of a pixel that are stored side by side.
        height: The rows of a full strip or tile.
        width: The columns of a strip or tile.
        image_height: The rows of the page.
        image_width: The columns of the page.
        tiled: Whether these are tiles, which are always full.
    """

    planes: int
    samples: int
    height: int
    width: int
    image_height: int
    image_width: int
    tiled: bool

    @property
    def count(self) -> int:
        return (
            self.planes
            * ceil(self.image_height / self.height)
            * ceil(self.image_width / self.width)
        )

    @property
    def places(self) -> Iterator[tuple[int, int, int]]:
        """The first row, first column and number of rows of each part of a plane, in order."""
        for y in range(0, self.image_height, self.height):
            height = self.height if self.tiled else min(self.height, self.image_height - y)
            for x in range(0, self.image_width, self.width):
                yield y, x, height


def _grid_of(page: tifffile.TiffPage) -> _Grid:
    apart = page.planarconfig == 2 and page.samplesperpixel > 1
    height, width = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )
    if min(height, width) < 1 or (page.is_tiled and max(height, width) > 1 << 16):
        raise ValueError("strips or tiles have no usable size")
    return _Grid(
        planes=page.samplesperpixel if apart else 1,
        samples=1 if apart else page.samplesperpixel,
        height=height,
        width=width,
        image_height=page.imagelength,
        image_width=page.imagewidth,
        tiled=page.is_tiled,
    )


def _dtype_of(page: tifffile.TiffPage) -> np.dtype[Any]:
    bits = bits_of(page)
    kind = SAMPLE_KINDS[int(page.sampleformat or 1)]
    bytes_each = next((size for size in (1, 2, 4, 8) if bits <= 8 * size), 0)
    if bits != 8 * bytes_each and (kind != "u" or not 1 <= bits <= 16):
        raise ValueError(f"{bits} bits of kind {kind} are not read")
    return np.dtype(f"{kind}{bytes_each}")


def _plane(page: tifffile.TiffPage, grid: _Grid, data: bytes, plane: int) -> Pixels:
    """Return a plane of the page, H x W x S."""
    row_bytes = ceil(grid.width * grid.samples * bits_of(page) / 8)
    first = plane * (grid.count // grid.planes)
    parts = [
        (y, x, _part(page, grid, data, first + n, height * row_bytes, grid.height * row_bytes))
        for n, (y, x, height) in enumerate(grid.places)
    ]
    if not grid.tiled:  # the rows of strips follow one another
        content = b"".join(part for _, _, part in parts)
        return _unpacked(page, content, (grid.image_height, grid.width, grid.samples))
    plane_HWS = np.empty((grid.image_height, grid.image_width, grid.samples), _dtype_of(page))
    for y, x, part in parts:
        tile = _unpacked(page, part, (grid.height, grid.width, grid.samples))
        target = plane_HWS[y : y + grid.height, x : x + grid.width]
        target[:] = tile[: target.shape[0], : target.shape[1]]
    return plane_HWS


def _part(page: tifffile.TiffPage, grid: _Grid, data: bytes, n: int, size: int, full: int) -> bytes:
    """Return the decompressed bytes of a strip or tile, which must be `size`.

    The last strip may be as long as the others, which are `full`.
    """
    start, stored = int(page.dataoffsets[n]), int(page.databytecounts[n])
    compressed = page.compression != 1
    part = data[start : start + (stored if compressed else size)]
    if compressed and (not stored or len(part) != stored):
        raise ValueError("a strip or tile lies outside the file")
    if page.fillorder == 2:
        part = bytes(imagecodecs.bitorder_decode(part))
    if compressed:  # one byte of room more, so that content that is too long is noticed
        part = bytes(OF_BYTES[int(page.compression)](part, out=full + 1))
    if len(part) not in (size, full):
        raise ValueError("a strip or tile has another length than the header says")
    return part[:size]


def _unpacked(page: tifffile.TiffPage, content: bytes, shape: tuple[int, int, int]) -> Pixels:
    dtype, bits = _dtype_of(page), bits_of(page)
    if bits != 8 * dtype.itemsize:
        if page.predictor != 1:
            raise ValueError("packed bits with a predictor are not read")
        run = shape[1] * shape[2]
        packed = imagecodecs.packints_decode(content, dtype, bits, runlen=run)
        return np.asarray(packed).reshape(shape)
    if page.predictor == FLOAT_DIFFERENCES:
        found = np.frombuffer(content, dtype).reshape(shape)
        return np.asarray(imagecodecs.floatpred_decode(found, axis=-2))
    found = np.frombuffer(content, dtype.newbyteorder(page.parent.byteorder)).reshape(shape)
    native = found.astype(dtype, copy=False)
    if page.predictor == DIFFERENCES:
        return np.asarray(imagecodecs.delta_decode(native, axis=-2))
    return native


def _by_image_codec(page: tifffile.TiffPage, grid: _Grid, data: bytes) -> Pixels:
    for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        part = data[start : start + size]
        if not size or len(part) != size:
            raise ValueError("a strip or tile lies outside the file")
        if page.compression == JPEG and bits_of(page) == 8:
            _require_whole_jpeg((page.jpegtables or b"\xff\xd8\xff\xd9")[:-2] + part[2:], grid)
    samples = page.asarray(squeeze=False, maxworkers=1)
    planes_PHWS = np.asarray(samples)[:, 0]
    if planes_PHWS.dtype == np.bool_:
        planes_PHWS = planes_PHWS.astype(np.uint8)
    return planes_PHWS[0] if grid.planes == 1 else np.moveaxis(planes_PHWS[..., 0], 0, -1)


def _require_whole_jpeg(data: bytes, grid: _Grid) -> None:
    """Raise ValueError if the decoder warns of damage: tifffile's decoder would fill in gray."""
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    if height > grid.height or width > grid.width:
        raise ValueError("a strip or tile is larger than the header says")
    simplejpeg.decode_jpeg(data, "GRAY" if colours == "Gray" else "RGB")
