"""The pixels of one frame of a DICOM file, compressed or not.

imagecodecs decompresses, and simplejpeg JPEG, because both report damage as an error. A compressed
frame states its own size, which is compared with that of the header before anything is allocated.

Axes: H rows, W columns, S samples of a pixel.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from atlas.dataset.decoders import decode_jpeg
from atlas.dataset.image_bytes import jpeg_segments

Pixels = NDArray[np.generic]
START_OF_CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000, with the marker of its size
JFIF, ADOBE = 0xE0, 0xEE  # segments that say which colours a JPEG has


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How the values of a frame are stored.

    Attributes:
        syntax: The transfer syntax, which says how the frame is compressed.
        width: The columns.
        height: The rows.
        samples: The samples of a pixel.
        allocated: The bits that a value takes.
        bits: The bits of a value that count.
        lowest_bit: The position of the lowest of them.
        signed: Whether values may be negative.
        planar: Whether the samples follow one another as planes.
        rgb: Whether the samples are red, green and blue.
    """

    syntax: UID
    width: int
    height: int
    samples: int
    allocated: int
    bits: int
    lowest_bit: int
    signed: bool
    planar: bool
    rgb: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape H x W x S."""
        return self.height, self.width, self.samples


def decode_frame(frame: Frame, stored: bytes) -> Pixels:
    """Return the values of a frame, H x W x S.

    Args:
        frame: How the values are stored.
        stored: The bytes of the frame.

    Raises:
        Exception: The frame is damaged. Its class depends on the library.
    """
    pixels = COMPRESSIONS.get(frame.syntax, _native)(frame, stored)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.shape != frame.shape:
        raise ValueError("the frame has another size than the header says")
    return _without_unused_bits(pixels, frame)


def _native(frame: Frame, stored: bytes) -> Pixels:
    pixels = np.frombuffer(stored, dtype=f"<u{frame.allocated // 8}")
    if frame.planar and frame.samples > 1:
        return np.moveaxis(pixels.reshape(frame.samples, frame.height, frame.width), 0, -1)
    return pixels.reshape(frame.shape)


def _by_rle(frame: Frame, stored: bytes) -> Pixels:
    dtype = np.dtype(f"<u{frame.allocated // 8}")
    planes = np.frombuffer(imagecodecs.dicomrle_decode(stored, dtype), dtype)
    return np.moveaxis(planes.reshape(frame.samples, frame.height, frame.width), 0, -1)


def _by_jpeg(frame: Frame, stored: bytes) -> Pixels:
    _require_size(frame, _jpeg_size(stored))
    markers = {marker for marker, _, _ in jpeg_segments(io.BytesIO(stored))}
    if frame.samples == 3 and not markers & {JFIF, ADOBE}:
        # Without such a segment, a decoder guesses the colours, but the header of DICOM knows them.
        kind = b"\0" if frame.rgb else b"\1"
        stored = stored[:2] + b"\xff\xee\0\x0eAdobe\0\x64" + bytes(4) + kind + stored[2:]
    return decode_jpeg(stored)


def _by_lossless_jpeg(frame: Frame, stored: bytes) -> Pixels:
    _require_size(frame, _jpeg_size(stored))
    return np.asarray(imagecodecs.jpegsof3_decode(stored))


def _by_jpeg_ls(frame: Frame, stored: bytes) -> Pixels:
    _require_size(frame, _jpeg_size(stored))
    return np.asarray(imagecodecs.jpegls_decode(stored))


def _by_jpeg_2000(frame: Frame, stored: bytes) -> Pixels:
    if not stored.startswith(START_OF_CODESTREAM):
        raise ValueError("the frame is not JPEG 2000")
    right, bottom, left, top = np.frombuffer(stored[8:24], ">u4").astype(int).tolist()
    samples = int.from_bytes(stored[40:42], "big")
    _require_size(frame, (bottom - top, right - left, samples))
    return np.asarray(imagecodecs.jpeg2k_decode(stored))


JPEG_2000 = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
COMPRESSIONS: dict[str, Callable[[Frame, bytes], Pixels]] = {
    RLELossless: _by_rle,
    JPEGBaseline8Bit: _by_jpeg,
    JPEGExtended12Bit: _by_jpeg,  # with 8 bits only: no decoder reports damage of 12 bits
    JPEGLossless: _by_lossless_jpeg,
    JPEGLosslessSV1: _by_lossless_jpeg,
    JPEGLSLossless: _by_jpeg_ls,
    JPEGLSNearLossless: _by_jpeg_ls,
    **dict.fromkeys(JPEG_2000, _by_jpeg_2000),
}


def _jpeg_size(stored: bytes) -> tuple[int, int, int]:
    """Return the height, width and samples that a JPEG of any kind states."""
    for marker, offset, _ in jpeg_segments(io.BytesIO(stored)):
        # All frames, with that of JPEG-LS (F7), but not the tables C4, C8 and CC among them.
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height = int.from_bytes(stored[offset + 1 : offset + 3], "big")
            width = int.from_bytes(stored[offset + 3 : offset + 5], "big")
            return height, width, stored[offset + 5]
    raise ValueError("the frame is not a JPEG")


def _require_size(frame: Frame, found: tuple[int, int, int]) -> None:
    if found != frame.shape:
        raise ValueError("the frame has another size than the header says")


def _without_unused_bits(pixels: Pixels, frame: Frame) -> Pixels:
    """Return values without what else the bits above them hold, such as overlays."""
    white = 2**frame.bits - 1
    size = 1 if frame.bits <= 8 else 2
    kept = np.bitwise_and(pixels.astype(np.int32), white)
    if not frame.signed:
        return np.asarray(kept, dtype=f"u{size}")
    sign = 1 << (frame.bits - 1)
    return np.asarray((kept ^ sign) - sign, dtype=f"i{size}")
