"""Arrays of Zarr 2 and 3 in a folder. The extra `zarr` installs the library that decodes them.

Zarr opens no files here. It sees a store in memory, which holds the metadata and, one at a time,
the files of chunks. All of these are checked before zarr sees them, because zarr itself unpacks a
chunk to any size, takes the fill value where the file of a chunk is missing, and follows links.
"""

import gzip
import io
import json
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from atlas.core.escaping import quoted
from atlas.dataset.image_folders import FolderProblem
from atlas.dataset.pixel_budget import LARGEST_PIXELS

Pixels = NDArray[np.generic]
Files = Mapping[str, Path]

MOST_CHUNKS = 100_000
MOST_METADATA_BYTES = 16 << 20
METADATA = {3: "zarr.json", 2: ".zarray"}
TYPES = re.compile(r"[<>|]([ui][1248]|f[248])|u?int(8|16|32|64)|float(16|32|64)")
CRC, CRC_BYTES = "crc32c", 4
SHARDS = "sharding_indexed"
EMPTY = 2**64 - 1  # the offset and length of a chunk that a shard does not hold

# The number of bytes to which a compressed chunk unpacks, or more than the second argument.
SIZES: dict[str, Callable[[bytes, int], int]] = {
    "blosc": lambda data, _: _size_of_blosc(data),
    "zstd": lambda data, most: len(imagecodecs.zstd_decode(data, out=most)),  # or an error
    "gzip": lambda data, most: len(gzip.GzipFile(fileobj=io.BytesIO(data)).read(most + 1)),
    "zlib": lambda data, most: len(zlib.decompressobj().decompress(data, most + 1)),
    "lz4": lambda data, _: int(struct.unpack_from("<I", data)[0]),
}
CODECS = (*SIZES, CRC, "bytes", "transpose")


@dataclass(frozen=True, kw_only=True)
class ZarrArray:
    """An array whose metadata are checked.

    Attributes:
        path: The path of the array within the folder.
        opened: The array of zarr, which reads from `store`.
        store: What zarr sees: the metadata, and the file of chunks that is being read.
        codecs: The names of the codecs of a chunk in the order in which they were applied.
        shard: The entries of the metadata on shards, which are none if a file holds one chunk.
    """

    path: str
    opened: zarr.Array[Any]
    store: dict[str, Buffer]
    codecs: tuple[str, ...]
    shard: Mapping[str, Any]

    @property
    def file_shape(self) -> tuple[int, ...]:
        """The shape of what a file holds: of a chunk, or of a shard."""
        return self.opened.shards or self.opened.chunks

    @property
    def chunks_per_file(self) -> int:
        """The number of chunks in a file."""
        return math.prod(self.file_shape) // math.prod(self.opened.chunks)

    @property
    def chunk_bytes(self) -> int:
        """The number of bytes of a chunk that is not compressed, with a checksum."""
        return math.prod(self.opened.chunks) * self.opened.dtype.itemsize + CRC_BYTES

    @property
    def packed_bytes(self) -> int:
        """The largest length of a chunk in a file: compressing noise makes it longer."""
        return self.chunk_bytes + self.chunk_bytes // 8 + 4096

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of files along each axis."""
        sides = zip(self.opened.shape, self.file_shape, strict=True)
        return tuple(-(-length // side) for length, side in sides)

    def parts(self) -> Iterator[tuple[str, tuple[slice, ...]]]:
        """Yield the name by which zarr knows each file of chunks, and the indices that it holds."""
        for place in np.ndindex(*self.grid):
            starts = np.multiply(place, self.file_shape).tolist()
            ends = np.minimum(np.add(starts, self.file_shape), self.opened.shape).tolist()
            yield self.opened.metadata.encode_chunk_key(place), tuple(map(slice, starts, ends))


def read_json(files: Files, name: str) -> dict[str, Any]:
    """Return a JSON object of a folder, or an empty one if there is no such file.

    Raises:
        FolderProblem: It is no JSON object, or too large.
    """
    if name not in files:
        return {}
    text = _content(files[name], MOST_METADATA_BYTES + 1)
    try:
        table = json.loads(text) if len(text) <= MOST_METADATA_BYTES else None
    except (ValueError, RecursionError) as error:
        raise FolderProblem(f"has a damaged file {name}; copy it again") from error
    if not isinstance(table, dict):
        raise FolderProblem(f"has a file {name} that is not an object of JSON")
    return table


def read_array(files: Files, path: str) -> ZarrArray:
    """Return the array at a path, of which no chunk is read.

    Raises:
        FolderProblem: The array is stored in a way that is not read.
        Exception: The metadata are damaged.
    """
    version: Literal[2, 3] = 3 if f"{path}/{METADATA[3]}" in files else 2
    table = read_json(files, f"{path}/{METADATA[version]}")
    if not table:
        raise FolderProblem(
            f"names the array {quoted(path)}, which it does not hold; copy it again"
        )
    kind = str(table["data_type" if version == 3 else "dtype"])
    if not TYPES.fullmatch(kind):
        raise FolderProblem(
            f"has values of type {quoted(kind)}, which are not read; save it with integers or "
            "floating-point numbers"
        )
    codecs, shard = _codecs_of_3(table) if version == 3 else (_codecs_of_2(table), {})
    store = {METADATA[version]: _buffer(json.dumps(table).encode())}  # what was checked
    opened = zarr.open_array(MemoryStore(store, read_only=True), mode="r", zarr_format=version)
    return ZarrArray(path=path, opened=opened, store=store, codecs=codecs, shard=shard)


def why_no_array(array: ZarrArray, files: Files) -> str:
    """Return why the values of an array are not read, or ""."""
    count = math.prod(array.grid) * array.chunks_per_file
    if count > MOST_CHUNKS:
        return f"has {count:,} chunks, more than {MOST_CHUNKS:,}; save it with larger chunks"
    if (values := math.prod(array.file_shape)) > LARGEST_PIXELS:
        noun = "shards" if array.shard else "chunks"
        return f"has {noun} of {values:,} values; save it with smaller {noun}"
    for key, _ in array.parts():
        if (name := f"{array.path}/{key}") not in files:
            return (
                f"lacks the chunk {name}; copy it again, or, if it was left out because all its "
                "values are equal, write the image with empty chunks"
            )
    return ""


def read_values(array: ZarrArray, files: Files) -> Pixels:
    """Return the values of an array of which `why_no_array` reports nothing.

    Raises:
        FolderProblem: A chunk is damaged.
        OSError: A file cannot be read.
    """
    values = np.zeros(array.opened.shape, array.opened.dtype.newbyteorder("="))
    most = array.chunks_per_file * array.packed_bytes  # there is room for the index of a shard
    for key, room in array.parts():
        name = f"{array.path}/{key}"
        content = _content(files[name], most + 1)
        try:
            if len(content) > most:
                raise ValueError("a file is longer than its chunks")
            _check(array, content)
            array.store[key] = _buffer(content)
            values[room] = array.opened[room]
        except MemoryError:
            raise
        except Exception as error:  # zarr and its codecs raise errors of every kind
            raise FolderProblem(f"has a damaged chunk {name}; copy it again") from error
        finally:
            array.store.pop(key, None)
    return values


def _check(array: ZarrArray, content: bytes) -> None:
    """Raise a ValueError if a chunk of a file unpacks to more than its size."""
    for chunk in _chunks_of_shard(array, content) if array.shard else [content]:
        if not 0 < len(chunk) <= array.packed_bytes:  # zarr takes the fill value for no bytes
            raise ValueError("a chunk is empty or too long")
        for codec in reversed(array.codecs):
            if codec == CRC:
                chunk = chunk[:-CRC_BYTES]
            elif codec in SIZES and SIZES[codec](chunk, array.chunk_bytes) > array.chunk_bytes:
                raise ValueError("a chunk unpacks to more than its values")


def _chunks_of_shard(array: ZarrArray, content: bytes) -> Iterator[bytes]:
    length = 16 * array.chunks_per_file
    with_checksum = length + CRC_BYTES * (len(array.shard["index_codecs"]) - 1)
    at_end = array.shard.get("index_location", "end") == "end"
    index = content[-with_checksum if at_end else 0 :][:length]
    if len(index) < length:
        raise ValueError("a shard is shorter than its index")
    for start, size in np.frombuffer(index, "<u8").reshape(-1, 2).tolist():
        if (start, size) != (EMPTY, EMPTY):
            if start + size > len(content):
                raise ValueError("a chunk lies outside its shard")
            yield content[start : start + size]


def _size_of_blosc(data: bytes) -> int:
    unpacked, _, packed = struct.unpack_from("<III", data, 4)
    if packed > len(data):  # Blosc would read beyond the end
        raise ValueError("a chunk breaks off")
    return int(unpacked)


def _codecs_of_2(table: Mapping[str, Any]) -> tuple[str, ...]:
    codecs = (*(table.get("filters") or ()), table.get("compressor"))
    return _known([codec["id"] for codec in codecs if codec])


def _codecs_of_3(table: Mapping[str, Any]) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Return the codecs of a chunk, and the entries on shards."""
    codecs = table["codecs"]
    if [codec["name"] for codec in codecs] != [SHARDS]:
        return _known([codec["name"] for codec in codecs]), {}
    settings = codecs[0]["configuration"]
    first, *others = settings["index_codecs"]
    little = first["name"] == "bytes" and first["configuration"]["endian"] == "little"
    if not little or [codec["name"] for codec in others] not in ([], [CRC]):
        raise FolderProblem("has shards of an unusual kind, which are not read; save it without")
    return _known([codec["name"] for codec in settings["codecs"]]), settings


def _known(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if name not in CODECS:
            raise FolderProblem(
                f"is stored with {quoted(str(name))}, which is not read; save it with one of "
                f"{', '.join(SIZES)}, or without compression"
            )
    if len({*names}) < len(names) or len({*names} & {*SIZES}) > 1:
        raise FolderProblem(
            f"is stored with {len(names)} codecs in a row; save it with one compression"
        )
    return tuple(names)


def _content(file: Path, most: int) -> bytes:
    """Return the first bytes of a file that was not replaced by a link since it was listed."""
    with open(
        file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW)
    ) as stream:
        return stream.read(most)


def _buffer(content: bytes) -> Buffer:
    return default_buffer_prototype().buffer.from_bytes(content)
