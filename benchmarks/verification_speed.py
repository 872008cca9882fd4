"""How many candidate pairs per second are compared by their pixels, on one core and on all.

Pairs are labelled images with random other images, because most candidates are not copies. The
stored images are read and compared in all 8 flips and rotations, as `find-leaks` does it.

atlas draw-atlas --out D --identities 200 --size-px 128 --copies 0
python -m benchmarks.verification_speed --data D --size-px 128 --out R
"""

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import tyro

from atlas.dataset.artifacts import Neighbours
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from benchmarks.side_by_side import ROUNDS, compare, own_process, rate_of, save
from index.copies.images import Images, examine
from index.settings import LeakSettings, RegistrationSettings

CANDIDATES = LeakSettings().neighbours + LeakSettings().hash_candidates


def main(
    data: Path,
    out: Path,
    pairs: int = 10_000,
    size_px: int = 128,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> None:
    """Measure pairs per second; the store is filled below `out` beforehand."""
    cores = os.cpu_count() or 1
    with own_process(cores=1) as on_one, own_process(cores=cores) as on_all:
        ways = {
            name: partial(ask, pair_rate, data, out, pairs, size_px, seed)
            for name, ask in (("one core", on_one), (f"{cores} cores", on_all))
        }
        title = f"Comparing pixels of {size_px} px, {pairs} pairs"
        made = compare(title, ways, unit="pairs/s", rounds=rounds)
    save(out, "verification_speed", [made], packages=["opencv-python-headless", "numpy"])


def pair_rate(data: Path, out: Path, pairs: int, size_px: int, seed: int) -> float:
    manifest = read_manifest(data).labelled
    store = fill_store(manifest, out / "store", size_px=size_px)
    images = Images(what="pairs", read=store.read, keys=store.keys)
    drawn = random_pairs(manifest.ids, pairs, seed)
    with tempfile.TemporaryDirectory() as folder:
        work = partial(examine, drawn, images, images, RegistrationSettings(), folder=Path(folder))
        return rate_of(drawn.reference_ids_NK.size, work)


def random_pairs(ids: tuple[str, ...], pairs: int, seed: int) -> Neighbours:
    """Return enough queries for this many pairs; each query occurs once."""
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
