"""Arrays of Zarr 2 and 3 in a folder: their metadata, which are checked, and their values.

This is not done by the library zarr: it reads chunks without a bound on their size, takes the fill
value where the file of a chunk is missing, and opens whatever a path of the metadata leads to.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.escaping import quoted
from atlas.dataset.image_folders import FolderProblem
from atlas.dataset.pixel_budget import LARGEST_PIXELS
from atlas.dataset.zarr_chunks import (
    CRC32C,
    UNPACK,
    ChunkLayout,
    Place,
    ShardLayout,
    read_chunk,
    read_shard,
)

Pixels = NDArray[np.generic]
Files = Mapping[str, Path]

MOST_CHUNKS = 100_000
MOST_AXES = 8
MOST_PACKINGS = 4
MOST_METADATA_BYTES = 16 << 20
TYPES_2 = re.compile(r"[<>|]([ui][1248]|f[248])")
BYTE_ORDERS = {"little": "<", "big": ">"}
TYPES_3 = re.compile(r"u?int(8|16|32|64)|float(16|32|64)")


@dataclass(frozen=True, kw_only=True)
class ZarrArray:
    """The metadata of an array.

    Attributes:
        path: The path of the array within the folder.
        shape: The shape of the array.
        chunks: The shape of what a file holds: of a chunk, or of a shard.
        layout: How the values of a chunk are stored.
        shard: How a file holds several chunks, or None if it holds one.
        key_start: What the name of each file begins with.
        separator: What separates the numbers of a chunk in the name of its file.
        fill: The value of all pixels of a chunk that a shard does not hold.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    layout: ChunkLayout
    shard: ShardLayout | None
    key_start: str
    separator: str
    fill: Any

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of files along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.chunks, strict=True))

    def file_name(self, place: Place) -> str:
        """Return the relative name of the file at a place of the grid."""
        return f"{self.path}/{self.key_start}{self.separator.join(map(str, place))}"


def read_json(files: Files, name: str) -> dict[str, Any]:
    """Return a JSON object of a folder, or an empty one if there is no such file.

    Raises:
        FolderProblem: It is no JSON object, or too large.
    """
    if name not in files:
        return {}
    with files[name].open("rb") as stream:
        text = stream.read(MOST_METADATA_BYTES + 1)
    try:
        table = json.loads(text) if len(text) <= MOST_METADATA_BYTES else None
    except (ValueError, RecursionError) as error:
        raise FolderProblem(f"has a damaged file {name}; copy it again") from error
    if not isinstance(table, dict):
        raise FolderProblem(f"has a file {name} that is not an object of JSON")
    return table


def read_array(files: Files, path: str) -> ZarrArray:
    """Return the metadata of the array at a path.

    Raises:
        FolderProblem: The array is stored in a way that is not read.
        Exception: The metadata are damaged.
    """
    if table := read_json(files, f"{path}/zarr.json"):
        return _of_version_3(path, table)
    if table := read_json(files, f"{path}/.zarray"):
        return _of_version_2(path, table)
    raise FolderProblem(f"names the array {quoted(path)}, which it does not hold; copy it again")


def why_no_array(array: ZarrArray, files: Files) -> str:
    """Return why the values of an array are not read, or ""."""
    inner = array.shard.counts if array.shard else ()
    count = math.prod(array.grid) * math.prod(inner)
    if count > MOST_CHUNKS:
        return f"has {count:,} chunks, more than {MOST_CHUNKS:,}; save it with larger chunks"
    if (values := math.prod(array.layout.shape)) > LARGEST_PIXELS:
        return f"has chunks of {values:,} values; save it with smaller chunks"
    for place in np.ndindex(*array.grid):
        if (name := array.file_name(place)) not in files:
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
    values = np.zeros(array.shape, array.layout.dtype.newbyteorder("="))
    for place in np.ndindex(*array.grid):
        name = array.file_name(place)
        try:
            for start, chunk in _chunks(array, files[name], place):
                room = values[tuple(map(slice, start, np.add(start, chunk.shape)))]
                room[...] = chunk[tuple(map(slice, room.shape))]
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the file cannot be read; decoders raise errors without a number
            raise FolderProblem(f"has a damaged chunk {name}; copy it again") from error
    return values


def _chunks(array: ZarrArray, file: Path, place: Place) -> Iterator[tuple[Place, Pixels]]:
    """Yield the first index of each chunk of a file, and its values."""
    first = tuple(n * size for n, size in zip(place, array.chunks, strict=True))
    if array.shard is None:
        yield first, read_chunk(file, array.layout)
        return
    shape = array.layout.shape
    for within, chunk in read_shard(file, array.layout, array.shard):
        start = tuple(a + n * size for a, n, size in zip(first, within, shape, strict=True))
        if all(n < size for n, size in zip(start, array.shape, strict=True)):
            # The index of the shard says that the chunk was left out, so it is not lost.
            empty = np.broadcast_to(_fill(array), shape) if chunk is None else chunk
            yield start, empty


def _fill(array: ZarrArray) -> Pixels:
    # Numbers that JSON does not have are texts, such as "NaN".
    fill = float(array.fill) if isinstance(array.fill, str) else array.fill
    return np.asarray(fill, array.layout.dtype)


def _of_version_2(path: str, table: Mapping[str, Any]) -> ZarrArray:
    kind = table["dtype"]
    if not isinstance(kind, str) or not TYPES_2.fullmatch(kind):
        raise _other_type(kind)
    chunks = _sizes(table["chunks"])
    axes = tuple(range(len(chunks)))
    packing = [codec["id"] for codec in (table.get("compressor"),) if codec]
    filters = [codec["id"] for codec in table.get("filters") or ()]
    layout = ChunkLayout(
        shape=chunks,
        dtype=np.dtype(kind),
        order=axes[::-1] if table["order"] == "F" else axes,
        packing=_known([*filters, *packing]),
    )
    return ZarrArray(
        path=path, shape=_shape(table["shape"], chunks), chunks=chunks, layout=layout, shard=None,
        key_start="", separator=_separator(table.get("dimension_separator", ".")),
        fill=table.get("fill_value"),
    )  # fmt: skip


def _of_version_3(path: str, table: Mapping[str, Any]) -> ZarrArray:
    kind = table["data_type"]
    if not isinstance(kind, str) or not TYPES_3.fullmatch(kind):
        raise _other_type(kind)
    grid, keys = _named(table["chunk_grid"]), _named(table["chunk_key_encoding"])
    extended = grid[0] != "regular" or keys[0] not in ("default", "v2")
    if extended or table.get("storage_transformers"):
        raise FolderProblem("is stored with an extension of Zarr, which is not read")
    chunks = _sizes(grid[1]["chunk_shape"])
    layout, shard = _stored(chunks, np.dtype(kind), table["codecs"])
    usual = "/" if keys[0] == "default" else "."
    separator = _separator(keys[1].get("separator", usual))
    return ZarrArray(
        path=path, shape=_shape(table["shape"], chunks), chunks=chunks, layout=layout, shard=shard,
        key_start=f"c{separator}" if keys[0] == "default" else "", separator=separator,
        fill=table["fill_value"],
    )  # fmt: skip


def _stored(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], codecs: Sequence[Any]
) -> tuple[ChunkLayout, ShardLayout | None]:
    """Return how chunks are stored, and how shards hold them, from the codecs of version 3."""
    named = [_named(codec) for codec in codecs]
    if named[0][0] == "sharding_indexed" and len(named) == 1:
        return _sharded(shape, dtype, named[0][1])
    order = tuple(range(len(shape)))
    if named[0][0] == "transpose":
        order = tuple(named.pop(0)[1]["order"])
        if sorted(order) != list(range(len(shape))):
            raise ValueError("the order of a transposition does not name each axis once")
    name, settings = named.pop(0)
    if name != "bytes":
        raise _other_codec(name)
    packing = _known([name.removeprefix("numcodecs.") for name, _ in named])
    return (
        ChunkLayout(
            shape=shape,
            dtype=np.dtype(BYTE_ORDERS[settings.get("endian", "little")] + dtype.str[1:]),
            order=order,
            packing=packing,
        ),
        None,
    )


def _sharded(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], settings: Mapping[str, Any]
) -> tuple[ChunkLayout, ShardLayout]:
    inner = _sizes(settings["chunk_shape"])
    layout, nested = _stored(inner, dtype, settings["codecs"])
    index, _ = _stored((1, 2), np.dtype("u8"), settings["index_codecs"])
    if nested or index.packing not in ((), (CRC32C,)) or index.dtype != np.dtype("<u8"):
        raise FolderProblem("has shards of an unusual kind, which are not read; save it without")
    counts = tuple(n // size for n, size in zip(shape, inner, strict=True))
    if tuple(n * size for n, size in zip(counts, inner, strict=True)) != shape:
        raise ValueError("the chunks do not fill their shards")
    at_end = {"end": True, "start": False}[settings.get("index_location", "end")]
    return layout, ShardLayout(counts=counts, checked=bool(index.packing), at_end=at_end)


def _named(codec: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(codec, str):
        return codec, {}
    return codec["name"], codec.get("configuration") or {}


def _known(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in UNPACK:
            raise _other_codec(name)
    if len(names) > MOST_PACKINGS:
        raise FolderProblem(f"is compressed {len(names)} times; save it with one compression")
    return tuple(names)


def _sizes(sizes: Any) -> tuple[int, ...]:
    if not 1 <= len(sizes) <= MOST_AXES or not all(type(n) is int and n > 0 for n in sizes):
        raise ValueError("the shape of chunks is not a list of positive numbers")
    return tuple(sizes)


def _shape(sizes: Any, chunks: tuple[int, ...]) -> tuple[int, ...]:
    if len(sizes) != len(chunks) or not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError("the shape does not have the axes of the chunks")
    return tuple(sizes)


def _separator(separator: str) -> str:
    if separator not in (".", "/"):
        raise ValueError("the separator is neither . nor /")
    return separator


def _other_type(kind: object) -> FolderProblem:
    return FolderProblem(
        f"has values of type {quoted(str(kind))}, which are not read; save it with integers or "
        "floating-point numbers"
    )


def _other_codec(name: object) -> FolderProblem:
    known = ", ".join(UNPACK)
    return FolderProblem(
        f"is stored with {quoted(str(name))}, which is not read; save it with one of {known}"
    )
