"""OME-Zarr images, written by the library zarr."""

import json
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr import codecs

CHUNK = (16, 32)
PACKINGS: dict[int, dict[str, Any]] = {
    2: {
        "none": None, "Blosc": numcodecs.Blosc(), "ZSTD": numcodecs.Zstd(),
        "gzip": numcodecs.GZip(), "zlib": numcodecs.Zlib(), "LZ4": numcodecs.LZ4(),
    },
    3: {
        "none": None, "Blosc": codecs.BloscCodec(), "ZSTD": codecs.ZstdCodec(),
        "gzip": codecs.GzipCodec(), "CRC-32C": codecs.Crc32cCodec(),
        "ZSTD with CRC-32C": [codecs.ZstdCodec(), codecs.Crc32cCodec()],
    },
}  # fmt: skip


def options(version: int, compression: str, layout: str) -> dict[str, Any]:
    """The arguments of `write` for a cell of the table of formats."""
    chosen: dict[str, Any] = {"compressors": PACKINGS[version][compression]}
    if layout == "Fortran order":
        chosen["order"] = "F"
    if layout == "transposed":
        chosen["filters"] = codecs.TransposeCodec(order=(0, 2, 1))
    if layout == "big-endian" and version == 3:
        chosen["serializer"] = codecs.BytesCodec(endian="big")
    elif layout == "big-endian":
        chosen["byteorder"] = ">"
    if layout == "chunks in one folder":
        chosen["chunk_key_encoding"] = {"name": "v2", "separator": "."}
    elif version == 2:
        chosen["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    if layout == "shards":
        chosen["shards"] = (1, 32, 64)
    if layout == "index before shards":
        chosen["shards"] = {"shape": (1, 32, 64), "index_location": "start"}
    return chosen


def write(
    folder: Path,
    values: np.ndarray,
    *,
    axes: str = "cyx",
    version: int = 2,
    chunk: tuple[int, int] = CHUNK,
    byteorder: str = "=",
    empty_chunks: bool = True,
    **more: Any,
) -> Path:
    """Write an image of NGFF 0.4 (Zarr 2) or 0.5 (Zarr 3), and return its folder."""
    group = zarr.open_group(str(folder), mode="w", zarr_format=version)
    multiscales = [
        {
            "version": "0.4",
            "axes": [{"name": name} for name in axes],
            "datasets": [{"path": "0"}],
        }
    ]
    group.attrs.update(
        {"multiscales": multiscales}
        if version == 2
        else {"ome": {"version": "0.5", "multiscales": multiscales}}
    )
    sides = dict(zip("yx", chunk, strict=True))
    array = group.create_array(
        "0", shape=values.shape, dtype=values.dtype.newbyteorder(byteorder),
        chunks=tuple(sides.get(axis, 1) for axis in axes),
        config={"write_empty_chunks": empty_chunks}, **more,
    )  # fmt: skip
    array[...] = values
    return folder


def chunks_of(folder: Path) -> list[Path]:
    """The files of the chunks of an image."""
    return sorted(
        file
        for file in (folder / "0").rglob("*")
        if file.is_file() and not file.name.startswith(".") and file.name != "zarr.json"
    )


def change(folder: Path, name: str, **values: object) -> None:
    """Change entries of the metadata of an image."""
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
