"""From a decoded store to vectors: a loop that a user would write, compared with the project's.

atlas draw-atlas --out D --identities 16 --size-px 256
python -m benchmarks.embedding_speed --data D --out R

All ways use the same ResNet50 and the same images: the plain loop in torch, the same loop with an
allocator that keeps freed memory, and the project with each runtime that passes its check.
"""

import os
from functools import partial
from pathlib import Path

import torch
import tyro
from torch import nn

from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import ImageStore, fill_store
from atlas.inference.settings import Precision, RuntimeName, RuntimeOptions
from atlas.workflows.embed.runtime_choice import with_runtime
from benchmarks.side_by_side import ROUNDS, compare, own_process, rate_of, save
from benchmarks.untrained import untrained_embedder
from retrieval.embedder import Embedder, load_embedder
from retrieval.embedding import embed_store

BATCH_SIZE = 16
WAYS: tuple[tuple[RuntimeName, Precision], ...] = (
    ("torch", "float32"), ("torch", "bfloat16"),
    ("openvino", "float32"), ("openvino", "bfloat16"), ("openvino", "int8"),
)  # fmt: skip
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}


def main(
    data: Path, out: Path, embedder: Path | None = None, images: int = 96, size_px: int = 256,
    rounds: int = ROUNDS,
) -> None:  # fmt: skip
    """Measure images per second of each way; the store is filled below `out` beforehand.

    `embedder` is a trained one for images of this size. By default it is an untrained ResNet50, and
    8 bits are left out: all its vectors are similar, so 8 bits do not pass their check.
    """
    source = (data, out, embedder, images, size_px)
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    # Each way has a process of its own: the project makes the allocator keep memory for any loop.
    with (
        own_process(threads) as loop,
        own_process({**threads, **KEPT}) as kept,
        own_process(threads) as ours,
    ):
        ways = {
            "eager loop": partial(loop, eager_rate, source),
            "eager loop, memory kept": partial(kept, eager_rate, source),
            **{
                ours(chosen, source, *way): partial(ours, project_rate, source, *way)
                for way in WAYS
                if embedder or way[1] != "int8"
            },
        }
        title = f"Embedding {size_px} px, {images} images"
        made = compare(title, ways, unit="images/s", rounds=rounds)
    save(out, "embedding_speed", [made], packages=["torch", "timm", "openvino", "nncf"])


Source = tuple[Path, Path, Path | None, int, int]  # the arguments of main


def eager_rate(source: Source) -> float:
    embedder, store, ids = opened(source)
    return loop_rate(embedder.network, store, ids)


def loop_rate(network: nn.Module, store: ImageStore, ids: tuple[str, ...]) -> float:
    """Return images per second of the loop that a user would write."""
    network.eval()

    def run() -> None:
        with torch.no_grad():
            for start in range(0, len(ids), BATCH_SIZE):
                network(torch.from_numpy(store.read(ids[start : start + BATCH_SIZE])))

    return rate_of(len(ids), run)


def chosen(source: Source, runtime: RuntimeName, precision: Precision) -> str:
    """Return the requested runtime, or the one that replaced it, checked once for all rounds."""
    embedder, _, _ = checked(source, runtime, precision)
    asked = f"{runtime} {precision}"
    return f"ours, {asked}" + ("" if str(embedder.choice) == asked else f" ({embedder.choice})")


def project_rate(source: Source, runtime: RuntimeName, precision: Precision) -> float:
    embedder, store, ids = checked(source, runtime, precision)
    embed_store(embedder, store, ids[:BATCH_SIZE], folder=None)  # compiles
    return rate_of(len(ids), lambda: embed_store(embedder, store, ids, folder=None))


def checked(
    source: Source, runtime: RuntimeName, precision: Precision
) -> tuple[Embedder, ImageStore, tuple[str, ...]]:
    data, out, *_ = source
    embedder, store, ids = opened(source)
    options = RuntimeOptions(runtime=runtime, precision=precision)
    return with_runtime(embedder, options, store, read_manifest(data).labelled, out), store, ids


def opened(source: Source) -> tuple[Embedder, ImageStore, tuple[str, ...]]:
    data, out, folder, images, size_px = source
    whole = read_manifest(data).labelled
    store = fill_store(whole, out / "store", size_px=size_px)
    embedder = load_embedder(folder) if folder else untrained_embedder(store.channels, size_px)
    return embedder, store, whole.ids[:images]


if __name__ == "__main__":
    tyro.cli(main)
