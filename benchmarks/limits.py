"""What the machine can do at most: products, convolutions, memory and disk, beside which every
stage can be seen as a share.

python -m benchmarks.limits --out R

torch's float32 matrix product may reach less than half of what its convolutions do, so the best of
them is the limit. Axes of the products: S x S.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro
from torch.nn import functional

from atlas.core.parallel import keep_freed_memory
from benchmarks.side_by_side import ROUNDS, compare, rate_of, save

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# As in the middle of a ResNet50 at 256 px, whose cost is mostly there.
BATCH, FEATURES, SIDE_PX, KERNEL = 16, 256, 32, 3


def main(
    out: Path, side: int = 2048, megabytes: int = 512, repeats: int = 4, rounds: int = ROUNDS
) -> None:
    """Measure GFLOP/s and GB/s; `out` also decides which disk is measured.

    Args:
        out: The folder of limits.csv, limits.md and limits.png.
        side: The side of the square matrices.
        megabytes: The amount that is copied in memory, and written to the disk and read.
        repeats: The number of products of each kind in a round.
        rounds: The number of rounds that count.
    """
    keep_freed_memory()
    torch.set_num_threads(os.cpu_count() or 1)
    sums = {
        f"{kind}, {name}": partial(product_rate, work(dtype), flops, repeats)
        for name, dtype in DTYPES.items()
        for kind, work, flops in (
            ("matrix product", partial(matrix_product, side), 2 * side**3),
            ("convolution", convolution, convolution_flops()),
        )
    }
    scratch = out / ".scratch"
    bytes_moved = {
        "copying memory": partial(memory_rate, megabytes, repeats),
        "writing to disk": partial(writing_rate, scratch, megabytes),
        "reading from disk": partial(reading_rate, scratch, megabytes),
    }
    out.mkdir(parents=True, exist_ok=True)
    try:
        scratch.write_bytes(bytes(megabytes * 10**6))
        save(
            out,
            "limits",
            [
                compare("Floating-point operations", sums, unit="GFLOP/s", rounds=rounds),
                compare("Bytes", bytes_moved, unit="GB/s", rounds=rounds),
            ],
            packages=["torch", "numpy"],
        )
    finally:
        scratch.unlink(missing_ok=True)


def product_rate(work: Callable[[], object], flops: float, repeats: int) -> float:
    def repeated() -> None:
        with torch.inference_mode():
            for _ in range(repeats):
                work()

    return rate_of(repeats * flops / 1e9, repeated)


def matrix_product(side: int, dtype: torch.dtype) -> Callable[[], object]:
    one, other = (torch.ones(side, side, dtype=dtype) for _ in range(2))
    return partial(torch.mm, one, other)


def convolution(dtype: torch.dtype) -> Callable[[], object]:
    maps = torch.ones(BATCH, FEATURES, SIDE_PX, SIDE_PX, dtype=dtype)
    filters = torch.ones(FEATURES, FEATURES, KERNEL, KERNEL, dtype=dtype)
    laid = [tensor.contiguous(memory_format=torch.channels_last) for tensor in (maps, filters)]
    return partial(functional.conv2d, *laid, padding=KERNEL // 2)


def convolution_flops() -> float:
    return 2.0 * BATCH * (FEATURES * SIDE_PX * KERNEL) ** 2


def memory_rate(megabytes: int, repeats: int) -> float:
    """Bytes that are read and those that are written, by all cores."""
    source, target = (torch.ones(megabytes * 10**6 // 4) for _ in range(2))

    def copied() -> None:
        for _ in range(repeats):
            target.copy_(source)

    return rate_of(2 * repeats * megabytes / 1000, copied)


def writing_rate(path: Path, megabytes: int) -> float:
    """Return the rate of writing until the data is on the disk."""
    content = np.ones(megabytes * 10**6, np.uint8).data

    def written() -> None:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    return rate_of(megabytes / 1000, written)


def reading_rate(path: Path, megabytes: int) -> float:
    """Return the rate of reading from the disk, after dropping the file from the cache."""
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    buffer = bytearray(megabytes * 10**6)

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            view = memoryview(buffer)
            while count := file.readinto(view):
                view = view[count:]

    return rate_of(megabytes / 1000, read)


if __name__ == "__main__":
    tyro.cli(main)
