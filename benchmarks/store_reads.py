"""Random reads of single images from HDF5, by how they are kept and how they are asked for.

atlas draw-atlas --out D --identities 100 --size-px 512 --copies 0
python -m benchmarks.store_reads --data D --out R

Chunks are of one image each: raw as the project keeps them, or packed by a codec of hdf5plugin.
Reads are from what the system holds in memory, so they show the cost of asking and unpacking; the
disk's own is in `benchmarks.limits`.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tyro
from numpy.typing import NDArray

from atlas.core.parallel import keep_freed_memory
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from benchmarks.side_by_side import ROUNDS, Measure, compare, rate_of, save

Images = NDArray[np.uint8]
BATCH_SIZE = 16
CODECS: dict[str, Mapping[str, Any]] = {
    "raw": {},
    "blosc2 lz4, bits shuffled": hdf5plugin.Blosc2(
        cname="lz4", clevel=1, filters=hdf5plugin.Blosc2.BITSHUFFLE
    ),
    "blosc2 zstd, bits shuffled": hdf5plugin.Blosc2(
        cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.BITSHUFFLE
    ),
    "bitshuffle lz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "zstd": hdf5plugin.Zstd(clevel=1),
    "gzip": {"compression": "gzip", "compression_opts": 1},
}


def main(
    data: Path, out: Path, images: int = 256, size_px: int = 256, reads: int = 512,
    rounds: int = ROUNDS,
) -> None:  # fmt: skip
    """Measure images per second in random batches of 16, and the size of each file."""
    keep_freed_memory()  # as the project does before it embeds
    manifest = read_manifest(data).labelled
    store = fill_store(manifest, out / "store", size_px=size_px)
    pixels = store.read(manifest.ids[:images])
    order = np.random.default_rng(0).integers(0, len(pixels), reads)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        files = {name: written(Path(folder), name, pixels, CODECS[name]) for name in CODECS}
        kept = {
            f"{name} ({path.stat().st_size / pixels.nbytes:.2f} of raw)": partial(
                read_rate, path, order, by_index
            )
            for name, path in files.items()
        }
        flat = Path(folder) / "flat.npy"
        np.save(flat, pixels)
        asked: dict[str, Measure] = {
            name: partial(read_rate, files["raw"], order, way) for name, way in WAYS.items()
        }
        asked["numpy memmap of a flat file"] = partial(memmap_rate, flat, order)
        asked["the project's store"] = partial(store_rate, store.read, manifest.ids, order)
        title = f"Random reads, {size_px} px, {pixels.shape[1]} channels"
        tables = [
            compare(f"{title}: how it is kept", kept, unit="images/s", rounds=rounds),
            compare(f"{title}: how it is asked for", asked, unit="images/s", rounds=rounds),
        ]
    save(out, "store_reads", tables, packages=["h5py", "hdf5plugin", "numpy"])


def written(folder: Path, name: str, pixels: Images, codec: Mapping[str, Any]) -> Path:
    path = folder / f"{name.replace(' ', '_')}.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rows", data=pixels, chunks=(1, *pixels.shape[1:]), **codec)
    return path


def by_index(stored: h5py.Dataset, batch: NDArray[np.int64]) -> Images:
    rows = np.empty((len(batch), *stored.shape[1:]), stored.dtype)
    for n, at in enumerate(batch):
        rows[n] = stored[at]
    return rows


def by_read_direct(stored: h5py.Dataset, batch: NDArray[np.int64]) -> Images:
    rows = np.empty((len(batch), *stored.shape[1:]), stored.dtype)
    for n, at in enumerate(batch):
        stored.read_direct(rows, np.s_[at], np.s_[n])
    return rows


def by_runs(stored: h5py.Dataset, batch: NDArray[np.int64]) -> Images:
    """Read sorted images, neighbours in one request."""
    rows = np.empty((len(batch), *stored.shape[1:]), stored.dtype)
    order = np.argsort(batch, kind="stable")
    for run in np.split(order, np.flatnonzero(np.diff(batch[order]) != 1) + 1):
        first = int(batch[run[0]])
        rows[run] = stored[first : first + len(run)]
    return rows


def by_list(stored: h5py.Dataset, batch: NDArray[np.int64]) -> Images:
    """Read with a list as h5py's index, which must be sorted and without repetition."""
    wanted, back = np.unique(batch, return_inverse=True)
    return np.asarray(stored[wanted.tolist()], np.uint8)[back]


def by_chunk(stored: h5py.Dataset, batch: NDArray[np.int64]) -> Images:
    """Read the bytes of raw chunks from the file, without HDF5's selections."""
    rows = np.empty((len(batch), *stored.shape[1:]), stored.dtype)
    corner = (0,) * (stored.ndim - 1)
    for n, at in enumerate(batch):
        stored.id.read_direct_chunk((int(at), *corner), out=rows[n].reshape(-1).view(np.uint8))
    return rows


WAYS: dict[str, Callable[[h5py.Dataset, NDArray[np.int64]], Images]] = {
    "indexed one by one": by_index,
    "read_direct, one by one": by_read_direct,
    "runs of neighbours": by_runs,
    "chunks, one by one": by_chunk,
    "a list as index": by_list,
}


def read_rate(path: Path, order: NDArray[np.int64], way: Callable[..., Images]) -> float:
    def read() -> None:
        for start in range(0, len(order), BATCH_SIZE):
            with h5py.File(path, "r") as file:
                way(file["rows"], order[start : start + BATCH_SIZE])

    return rate_of(len(order), read)


def memmap_rate(path: Path, order: NDArray[np.int64]) -> float:
    def read() -> None:
        flat = np.load(path, mmap_mode="r")
        for start in range(0, len(order), BATCH_SIZE):
            np.asarray(flat[order[start : start + BATCH_SIZE]])

    return rate_of(len(order), read)


def store_rate(
    read_ids: Callable[[list[str]], Images], ids: tuple[str, ...], order: NDArray[np.int64]
) -> float:
    def read() -> None:
        for start in range(0, len(order), BATCH_SIZE):
            read_ids([ids[n] for n in order[start : start + BATCH_SIZE]])

    return rate_of(len(order), read)


if __name__ == "__main__":
    tyro.cli(main)
