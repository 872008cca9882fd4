"""A million vectors on one machine: build, search, all pairs, update and delete, in several ways.

    python -m benchmarks.million --out R

The vectors are clustered, as in `benchmarks.vectors`, and lie in a file that is mapped into memory.
Each row of the result is measured in a process of its own, so its peak memory, which includes
libraries, mapped vectors and Milvus Lite, is its own. A row that was measured is kept: run the same
command again to resume it, or to add numbers of vectors and ways.

Axes: N vectors, D dimensions, Q queries, K neighbours.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from atlas.core.files import write_json, written_beside
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from benchmarks.all_pairs import peak_bytes
from benchmarks.growing import save_growth
from benchmarks.search_speed import K, named
from benchmarks.vectors import Vectors, unit
from index.claims.duplicates import tied
from index.search.approximate import FactoryProposals, recall_of, tune
from index.search.milvus_index import MilvusIndex
from index.search.open_search import exact_search
from index.search.vector_index import VectorIndex, build_index
from index.settings import StoreKind
from index.store_address import parse_address

Way = Literal["exact", "approximate", "milvus flat", "milvus hnsw", "milvus ivf"]
WAYS: tuple[Way, ...] = ("exact", "approximate", "milvus flat", "milvus hnsw", "milvus ivf")
STORE_KINDS: dict[str, StoreKind] = {
    "milvus flat": "flat", "milvus hnsw": "hnsw", "milvus ivf": "ivf",
}  # fmt: skip
SIBLINGS = 6  # of a cluster
SPREAD = 0.6
SUBSPACE = 64
ROWS_AT_ONCE = 60_000
CHANGED = 1000  # vectors that are updated, and as many that are deleted
RECALL = 0.99  # that approximate search is tuned to
ROWS_FILE = "rows.json"


def main(
    out: Path,
    counts: tuple[int, ...] = (10_000, 100_000, 1_000_000),
    ways: tuple[Way, ...] = WAYS,
    dimension: int = 512,
    queries: int = 10_000,
    pairs: int = 10_000,
    worker: tuple[int, Way] | None = None,
) -> None:
    """Write rows.json, million.csv, million.md and million.png.

    Args:
        out: a folder for the vectors, the stores and the results.
        counts: of the vectors.
        ways: of searching.
        dimension: of the vectors.
        queries: that are not among the vectors.
        pairs: how many of the vectors are queries for "all pairs", chosen at random.
        worker: not to be given by hand.
    """
    if worker:
        print(json.dumps(measured(out, *worker, dimension, queries, pairs)))
        return
    out.mkdir(parents=True, exist_ok=True)
    write_vectors(out / "vectors.npy", max(counts), dimension)
    rows = _kept(out)
    for count in sorted(counts):
        for way in ways:
            if any((row["vectors"], row["way"]) == (count, way) for row in rows):
                continue
            options = ("--dimension", dimension, "--queries", queries, "--pairs", pairs)
            words = ("-m", "benchmarks.million", "--out", out, *options, "--worker", count, way)
            done = subprocess.run(
                [sys.executable, *map(str, words)], stdout=subprocess.PIPE, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            write_json(out / ROWS_FILE, rows)
            print(rows[-1], flush=True)
    print(f"groups among {max(counts):,} images: {seconds_for_groups(max(counts)):.1f} s")
    save_growth(
        out,
        "million",
        sorted(rows, key=lambda row: (row["vectors"], WAYS.index(row["way"]))),
        lines="way",
        heights=["build s", "queries/s", "peak GiB"],
        packages=["torch", "faiss-cpu", "pymilvus", "milvus-lite"],
    )


def write_vectors(path: Path, count: int, dimension: int) -> None:
    """Write clusters of siblings, N x D, unless the file has at least as many."""
    if path.exists():
        there = np.load(path, mmap_mode="r").shape
        if there[0] >= count and there[1] == dimension:
            return
    with written_beside(path) as beside:
        vectors_ND = np.lib.format.open_memmap(
            beside, mode="w+", dtype=np.float32, shape=(count, dimension)
        )
        for start in range(0, count, ROWS_AT_ONCE):
            places = np.arange(start, min(count, start + ROWS_AT_ONCE))
            vectors_ND[places] = siblings(places // SIBLINGS, dimension, seed=start)
        vectors_ND.flush()


def siblings(clusters: Any, dimension: int, *, seed: int) -> Vectors:
    """Return a vector near the middle of each cluster; the middles lie in a subspace."""
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((SUBSPACE, dimension)).astype(np.float32)
    named_once, place = np.unique(clusters, return_inverse=True)
    middles = np.stack(
        [np.random.default_rng((1, int(c))).standard_normal(SUBSPACE) for c in named_once]
    )
    noise = np.random.default_rng((2, seed)).standard_normal((len(clusters), dimension))
    centred = unit(middles.astype(np.float32) @ basis)[place]
    return unit((centred + SPREAD / np.sqrt(dimension) * noise).astype(np.float32))


def measured(
    out: Path, count: int, way: Way, dimension: int, queries: int, pairs: int
) -> dict[str, Any]:
    """Return the measurements of one way."""
    known = named("image", np.load(out / "vectors.npy", mmap_mode="r")[:count])
    rng = np.random.default_rng(count)
    asked = siblings(rng.integers(0, count // SIBLINGS, queries), dimension, seed=-count % 2**31)
    asking = named("query", asked)
    some = np.sort(rng.choice(count, min(pairs, count), replace=False))
    sample = known.aligned_to([known.ids[n] for n in some])
    index, build_s = timed(lambda: built(out, known, way))
    index.search(asking.aligned_to(asking.ids[:1]), K)  # what is prepared at the first query
    found, search_s = timed(lambda: index.search(asking, K))
    _, pairs_s = timed(lambda: index.search(sample, K))
    update_s, delete_s = (timed(work)[1] for work in changes(out, index, known, way, dimension))
    return {
        "vectors": count,
        "way": way,
        "build s": build_s,
        "queries/s": queries / search_s,
        "recall@10": recall_of(found, truth(out, known, asking, found, way)),
        "all pairs: vectors/s": len(sample.ids) / pairs_s,
        f"update of {CHANGED:,} s": update_s,
        f"delete of {CHANGED:,} s": delete_s,
        "peak GiB": peak_bytes() / 2**30,
    }


def built(out: Path, known: EmbeddingSet, way: Way) -> VectorIndex:
    """Return the index, ready for queries."""
    if way == "exact":
        return exact_search(known).vectors
    if way == "approximate":
        index, tuned = tune(known, exact_search(known).vectors, recall=RECALL, mib=np.inf)
        proposals = FactoryProposals(index, tuned.parameters, tuned.proposals)
        return build_index(known, lambda _: proposals)
    folder = out / f"{way.replace(' ', '-')}-{len(known.ids)}.db"
    shutil.rmtree(folder, ignore_errors=True)  # of a row that was stopped
    store = MilvusIndex.make(
        parse_address(str(folder)),
        dimension=known.vectors_ND.shape[1],
        embedder=str(known.provenance["embedder"]),
        kind=STORE_KINDS[way],
    )
    store.synchronise(known, splits={}, identities={})
    return store


def changes(
    out: Path, index: VectorIndex, known: EmbeddingSet, way: Way, dimension: int
) -> Iterator[Callable[[], object]]:
    """Yield what updates vectors and what deletes them, with the search that follows.

    Approximate search in one process is tuned again after a change, as `atlas update` does.
    """
    ids, gone = known.ids[:CHANGED], known.ids[CHANGED : 2 * CHANGED]
    clusters = np.arange(len(ids)) // SIBLINGS
    others = EmbeddingSet(
        ids=ids, vectors_ND=siblings(clusters, dimension, seed=7), provenance=known.provenance
    )

    def update() -> None:
        if isinstance(index, MilvusIndex):
            index.upsert(others)
        else:
            index.delete(ids)
            index.add(others)
        after()

    def delete() -> None:
        index.delete(gone)
        after()

    def after() -> None:
        if way == "approximate":
            built(out, known, way)  # as many vectors as there are now, within 1,000
        else:
            index.search(others.aligned_to(ids[:1]), K)

    yield update
    yield delete


def truth(
    out: Path, known: EmbeddingSet, asking: EmbeddingSet, found: Neighbours, way: Way
) -> Neighbours:
    """Return the exact neighbours, which the exact way has found and kept."""
    path = out / f"truth-{len(known.ids)}-{len(asking.ids)}.npy"
    if way == "exact":
        np.save(path, found.reference_ids_NK.astype("S"))
        return found
    if not path.exists():
        return exact_search(known).vectors.search(asking, K)
    names = np.load(path).astype(str).astype(object)
    return Neighbours(
        query_ids=asking.ids, reference_ids_NK=names, similarity_NK=found.similarity_NK
    )


def seconds_for_groups(count: int) -> float:
    """Return the seconds that it takes to group images, of which half are copies of others."""
    ids = [f"image{n:07d}" for n in range(count)]
    chosen_P2 = np.random.default_rng(0).integers(0, count, (count // 2, 2))
    return timed(lambda: tied(ids, [(ids[a], ids[b]) for a, b in chosen_P2]))[1]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _kept(out: Path) -> list[dict[str, Any]]:
    path = out / ROWS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


if __name__ == "__main__":
    tyro.cli(main)
