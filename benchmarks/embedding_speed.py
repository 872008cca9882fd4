"""From a decoded store to embeddings: the loop a user would write beside the project's.

python scripts/draw_atlas.py --out D --identities 16 --size-px 256
python -m benchmarks.embedding_speed --data D --out R

All have the same network, a ResNet50 that learned nothing, and the same images: the loop as torch
runs it, then with the allocator told to keep what is freed, then the project with each runtime.
"""

import os
from functools import partial
from pathlib import Path

import torch
import tyro

from atlas.manifest import Manifest, read_manifest
from atlas.store import ImageStore, fill_store
from benchmarks.side_by_side import ROUNDS, compare, own_process, rate_of, save
from benchmarks.untrained import untrained_embedder
from retrieval.embedder import Embedder
from retrieval.embedding import embed_store

BATCH_SIZE = 16
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}


def main(data: Path, out: Path, images: int = 96, size_px: int = 256, rounds: int = ROUNDS) -> None:
    """Measures images a second of each way; the store is filled below `out` beforehand."""
    source = (data, out, images, size_px)
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    # A process for each: the project tells the allocator to keep memory, which helps any loop.
    with (
        own_process(**threads) as loop,
        own_process(**threads, **KEPT) as kept,
        own_process(**threads) as ours,
    ):
        ways = {
            "eager loop": partial(loop, eager_rate, source),
            "eager loop, memory kept": partial(kept, eager_rate, source),
            "ours": partial(ours, project_rate, source),
        }
        title = f"Embedding {size_px} px, {images} images"
        made = compare(title, ways, unit="images/s", rounds=rounds)
    save(out, "embedding_speed", [made], packages=["torch", "timm"])


Source = tuple[Path, Path, int, int]  # data, out, images, size_px


def eager_rate(source: Source) -> float:
    embedder, store, ids = opened(source)
    network = embedder.network.eval()

    def embed() -> None:
        with torch.no_grad():
            for start in range(0, len(ids), BATCH_SIZE):
                network(torch.from_numpy(store.read(ids[start : start + BATCH_SIZE])))

    return rate_of(len(ids), embed)


def project_rate(source: Source) -> float:
    embedder, store, ids = opened(source)
    return rate_of(len(ids), lambda: embed_store(embedder, store, ids, folder=None))


def opened(source: Source) -> tuple[Embedder, ImageStore, tuple[str, ...]]:
    data, out, images, size_px = source
    whole = read_manifest(data).labelled
    manifest = Manifest(spec=whole.spec, rows=whole.rows[:images])
    store = fill_store(manifest, out / "store", size_px=size_px)
    return untrained_embedder(store.channels, size_px), store, manifest.ids


if __name__ == "__main__":
    tyro.cli(main)
