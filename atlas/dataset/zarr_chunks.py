"""Chunks of Zarr arrays: how the values of a chunk are stored, and how they are unpacked.

Every decoder knows beforehand how many bytes a chunk has, so a small file cannot fill the memory.
Axes: those of the array, in its order.
"""

import bz2
import lzma
import math
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from atlas.core.crc32c import crc32c

Packed = bytes | bytearray
Pixels = NDArray[np.generic]
Place = tuple[int, ...]

CRC32C = "crc32c"
CRC_BYTES = 4
EMPTY = 2**64 - 1  # the offset and length of a chunk that a shard does not hold
LZMA_BYTES = 1 << 28  # what the decoder may use, which its header states

# Decoders by the names of Zarr. The second argument is the largest number of bytes.
UNPACK: dict[str, Callable[[Packed, int], Packed]] = {
    "blosc": lambda data, most: _from_blosc(data, most),
    "zstd": lambda data, most: imagecodecs.zstd_decode(data, out=most),
    "gzip": lambda data, most: imagecodecs.gzip_decode(data, out=most),
    "zlib": lambda data, most: imagecodecs.zlib_decode(data, out=most),
    "lz4": lambda data, most: imagecodecs.lz4_decode(data, header=True, out=most),
    "bz2": lambda data, most: _to_its_end(bz2.BZ2Decompressor(), data, most),
    "lzma": lambda data, most: _to_its_end(lzma.LZMADecompressor(memlimit=LZMA_BYTES), data, most),
    CRC32C: lambda data, _: _checked(data),
}


@dataclass(frozen=True, kw_only=True)
class ChunkLayout:
    """How the values of a chunk become bytes.

    Attributes:
        shape: The shape of the chunk.
        dtype: The type of its values, with their byte order.
        order: The axes in the order in which they are stored.
        packing: The names of `UNPACK` in the order in which they were applied.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    order: tuple[int, ...]
    packing: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """The length of the chunk without compression."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def most_bytes(self) -> int:
        """The largest length of the chunk at any step: compressing noise makes it longer."""
        return self.bytes + self.bytes // 8 + 4096


@dataclass(frozen=True, kw_only=True)
class ShardLayout:
    """How a file holds several chunks (the codec `sharding_indexed`).

    Attributes:
        counts: The number of chunks along each axis.
        checked: Whether the index is followed by its CRC-32C.
        at_end: Whether the index is at the end of the file, or else at its start.
    """

    counts: tuple[int, ...]
    checked: bool
    at_end: bool

    @property
    def index_bytes(self) -> int:
        """The length of the index."""
        return 16 * math.prod(self.counts) + CRC_BYTES * self.checked


def read_chunk(file: Path, layout: ChunkLayout) -> Pixels:
    """Return the values of a file that holds one chunk.

    Raises:
        Exception: The chunk is damaged. Its class depends on the library.
    """
    with _opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        return _decoded(_read(stream, 0, size, layout), layout)


def read_shard(
    file: Path, layout: ChunkLayout, shard: ShardLayout
) -> Iterator[tuple[Place, Pixels | None]]:
    """Yield the place of each chunk within a shard, and its values, or None if there are none.

    Raises:
        Exception: The shard is damaged. Its class depends on the library.
    """
    with _opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size < shard.index_bytes:
            raise ValueError("a shard is shorter than its index")
        stream.seek(size - shard.index_bytes if shard.at_end else 0)
        index = stream.read(shard.index_bytes)
        entries = np.frombuffer(_checked(index) if shard.checked else index, "<u8")
        for place, (start, length) in zip(
            np.ndindex(*shard.counts), entries.reshape(-1, 2).tolist(), strict=True
        ):
            if start == length == EMPTY:
                yield place, None
                continue
            if start + length > size:
                raise ValueError("a chunk lies outside its shard")
            yield place, _decoded(_read(stream, start, length, layout), layout)


def _opened(file: Path) -> BinaryIO:
    """Open a file that was not replaced by a link after its folder was listed."""
    return open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW))


def _read(stream: BinaryIO, start: int, length: int, layout: ChunkLayout) -> bytes:
    if length > layout.most_bytes:
        raise ValueError("a chunk is longer than its values")
    stream.seek(start)
    return stream.read(length)


def _decoded(data: Packed, layout: ChunkLayout) -> Pixels:
    for name in reversed(layout.packing):
        data = UNPACK[name](data, layout.most_bytes)
    if len(data) != layout.bytes:
        raise ValueError("a chunk has another length than its values")
    stored = np.frombuffer(data, layout.dtype)
    stored = stored.reshape([layout.shape[axis] for axis in layout.order])
    return stored.transpose(np.argsort(layout.order))


def _from_blosc(data: Packed, most: int) -> Packed:
    """Unpack Blosc, whose decoder trusts the lengths in the header."""
    unpacked, _, packed = struct.unpack_from("<III", data, 4)
    if unpacked > most or packed > len(data):
        raise ValueError("a chunk has other lengths than its header says")
    return imagecodecs.blosc_decode(data, numthreads=1, out=most)


def _to_its_end(
    decoder: bz2.BZ2Decompressor | lzma.LZMADecompressor, data: Packed, most: int
) -> Packed:
    """Unpack bytes, which other decoders do without the checksum at their end."""
    unpacked = decoder.decompress(data, most)
    if not decoder.eof:
        raise ValueError("a chunk breaks off, or is too long")
    return unpacked


def _checked(data: Packed) -> Packed:
    """Return bytes without the CRC-32C that follows them, which must be theirs."""
    content = data[:-CRC_BYTES]
    if struct.pack("<I", crc32c(bytes(content))) != data[-CRC_BYTES:]:
        raise ValueError("a CRC-32C is wrong")
    return content
