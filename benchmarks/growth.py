"""Search among more and more vectors: the cost of building, holding and searching an index.

python -m benchmarks.vectors --out crops.npy
python -m benchmarks.growth --vectors crops.npy --out R

Each row is measured in a process of its own, so that its peak memory, including libraries, is its
own.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from atlas.dataset.artifacts import EmbeddingSet
from benchmarks.all_pairs import peak_bytes
from benchmarks.growing import save_growth
from benchmarks.search_speed import K, named
from index.search.approximate import FactoryProposals, recall_of, tune
from index.search.open_search import exact_search
from index.search.vector_index import VectorIndex, build_index

QUERIES = 2000
WAYS = ("exact", "approximate")


def main(
    vectors: Path,
    out: Path,
    counts: tuple[int, ...] = (10_000, 100_000, 1_000_000),
    recall: float = 0.99,
    worker: tuple[int, str] | None = None,
) -> None:
    """Writes growth.csv, .md and .png.

    Args:
        vectors: what benchmarks/vectors.py wrote; some at random are searched, others ask.
        out: where the results go.
        counts: of the vectors that are searched.
        recall: what approximate search is tuned to.
        worker: not to be given by hand.
    """
    if worker:
        print(json.dumps(measured(np.load(vectors, mmap_mode="r"), *worker, recall)))
        return
    rows = []
    for count in counts:
        for way in WAYS:
            options = ("--vectors", vectors, "--out", out, "--recall", recall)
            command = ("-m", "benchmarks.growth", *options, "--worker", count, way)
            done = subprocess.run(
                [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    save_growth(
        out,
        "growth",
        rows,
        lines="way",
        heights=["queries/s", "peak GiB"],
        packages=["torch", "faiss-cpu"],
    )


def measured(stored_ND: Any, count: int, way: str, recall: float) -> dict[str, Any]:
    """Return the measurements; rates are those of the second of two passes over all queries."""
    start = time.perf_counter()
    chosen = np.random.default_rng(0).permutation(len(stored_ND))[: count + QUERIES]
    known = named("known", stored_ND[np.sort(chosen[QUERIES:])])
    queries = named("query", stored_ND[chosen[:QUERIES]])
    index, how = ready(known, way, recall)
    index.search(queries, K)
    ready_s = time.perf_counter() - start
    start = time.perf_counter()
    found = index.search(queries, K)
    seconds = time.perf_counter() - start
    return {
        "vectors": len(known.ids),
        "way": way,
        "s until ready": ready_s,
        "queries/s": QUERIES / seconds,
        "peak GiB": peak_bytes() / 2**30,
        "of the 10 nearest": recall_of(found, build_index(known).search(queries, K)),
        "tuned to": how,
    }


def ready(known: EmbeddingSet, way: str, recall: float) -> tuple[VectorIndex, str]:
    """Return the index, and what it was tuned to."""
    exact = exact_search(known).vectors
    if way == "exact":
        return exact, ""
    index, tuned = tune(known, exact, recall=recall, mib=np.inf)
    proposals = FactoryProposals(index, tuned.parameters, tuned.proposals)
    how = f"{tuned.factory} {tuned.parameters} {tuned.proposals} x, {tuned.mib:.0f} MiB"
    return build_index(known, lambda _: proposals), how


if __name__ == "__main__":
    tyro.cli(main)
