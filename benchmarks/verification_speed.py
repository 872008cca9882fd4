"""How many candidate pairs a second are compared by their pixels, in all 8 turns.

Pairs are labelled images with others by lot, as most candidates are: no copies. The stored images
are read and the pairs compared as `find_leaks.py` does it.

python scripts/draw_atlas.py --out D --identities 200 --size-px 128 --copies 0
python benchmarks/verification_speed.py --data D --size-px 128 --out R
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

from atlas.artifacts import Neighbours
from atlas.manifest import read_manifest
from atlas.store import fill_store
from index.settings import LeakSettings, RegistrationSettings
from index.verification import Images, examine

CANDIDATES = LeakSettings().neighbours + LeakSettings().hash_candidates


def main(data: Path, out: Path, pairs: int = 100_000, size_px: int = 128, seed: int = 0) -> None:
    """Prints pairs, seconds and pairs a second; the store is made below `out` beforehand."""
    manifest = read_manifest(data)
    store = fill_store(manifest, out / "store", size_px=size_px)
    images = Images(what="pairs", read=store.read, keys=store.keys)
    drawn = pairs_by_lot(manifest.labelled.ids, pairs, seed)
    start, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        evidence = examine(drawn, images, images, RegistrationSettings(), folder=Path(folder))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"{evidence.size} pairs of {len(store.channels)} x {size_px} px in {seconds:.0f} s on "
        f"{os.cpu_count()} cores ({cpu_seconds:.0f} s of processor): "
        f"{evidence.size / seconds:.0f} pairs/s"
    )


def pairs_by_lot(ids: tuple[str, ...], pairs: int, seed: int) -> Neighbours:
    """As many queries as make so many pairs; a query stands once, so there are few enough."""
    queries = min(-(-pairs // CANDIDATES), len(ids))
    depth = -(-pairs // queries)
    rng = np.random.default_rng(seed)
    others = [rng.choice(len(ids) - 1, depth, replace=False) for _ in range(queries)]
    places_NK = np.array([np.where(row >= n, row + 1, row) for n, row in enumerate(others)])
    return Neighbours(
        query_ids=ids[:queries],
        reference_ids_NK=np.array(ids, dtype=object)[places_NK],
        similarity_NK=np.zeros(places_NK.shape, np.float32),
    )


if __name__ == "__main__":
    tyro.cli(main)
