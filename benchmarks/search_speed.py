"""Queries per second of search, compared with faiss: exact, approximate, and the cost of our layer.

Both sides search in blocks of 2,048 queries for the 10 nearest vectors. `clustered` vectors are
easy, `spread` ones are the hardest, and `decaying` ones are in between: they have no clusters, but
a spectrum that decays like that of embeddings. The tables also have the share of queries whose
nearest vector is found, and the share of the 10 nearest that are found, against float32 products of
all pairs.
Run: python benchmarks/search_speed.py --out benchmarks/results
     python benchmarks/vectors.py --out crops.npy
     python benchmarks/search_speed.py --out benchmarks/results --crops crops.npy
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import tyro
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet
from benchmarks.side_by_side import Comparison, compare, rate_of, save
from benchmarks.vectors import clustered, decaying, spread
from index.search.approximate import FactoryProposals, trained, tune
from index.search.open_search import exact_search
from index.search.vector_index import QUERIES_AT_ONCE, build_index

Vectors = NDArray[np.float32]
K = 10
Kind = Literal["clustered", "decaying", "spread"]
KINDS: tuple[Kind, ...] = ("clustered", "decaying", "spread")
RECALL = 0.99
OF_2018 = (111_072, 11_702, 512)  # train and HPA v18, test, dimensions
RIVAL = ("PQ{}x4fs,RFlat", 16)  # codes of 4 dimensions, and proposals for each neighbour


def main(
    out: Path, crops: Path | None = None, rounds: int = 5, queries: int | None = None,
    recall: float = RECALL, kinds: tuple[Kind, ...] = KINDS,
) -> None:  # fmt: skip
    """Writes search_speed or search_speed_crops to `out`: .csv, .md and .png.

    Args:
        crops: Vectors that benchmarks/vectors.py wrote: asked by a part of them.
        queries: Fewer of them, where time is short.
        recall: What approximate search is tuned to.
        kinds: Of vectors, where `crops` is not given.
    """
    if crops:
        vectors = np.load(crops)
        asked = queries or 2000
        chosen = np.random.default_rng(0).permutation(len(vectors))
        sets = {"crops": (vectors[chosen[asked:]], vectors[chosen[:asked]])}
    else:
        count, most, dimension = OF_2018
        makers = {"clustered": clustered, "decaying": decaying, "spread": spread}
        sets = {kind: makers[kind](count, queries or most, dimension) for kind in kinds}
    done = [compare_on(name, *both, recall=recall, rounds=rounds) for name, both in sets.items()]
    name = "search_speed_crops" if crops else "search_speed"
    save(out, name, done, packages=["faiss-cpu", "torch"])


def compare_on(
    name: str, vectors_ND: Vectors, queries_QD: Vectors, *, recall: float, rounds: int
) -> Comparison:
    known, queries = named("known", vectors_ND), named("query", queries_QD)
    raw = faiss.IndexFlatIP(vectors_ND.shape[1])
    raw.add(vectors_ND)
    factory, more = RIVAL[0].format(vectors_ND.shape[1] // 4), RIVAL[1]
    rival: Any = trained(factory, vectors_ND)
    rival.k_factor = more
    exact = exact_search(known).vectors
    searches: dict[str, Callable[[EmbeddingSet], Any]] = {
        "faiss Flat": asking(raw),
        "ours, exact": lambda q: exact.search(q, K).reference_ids_NK,
        f"faiss {factory}, {more} x": asking(rival),
    }
    try:
        index, tuned = tune(known, exact, recall=recall, mib=np.inf)
        way = FactoryProposals(index, tuned.parameters, tuned.proposals)
        approximate = build_index(known, lambda _: way)
        way_name = " ".join([tuned.factory, tuned.parameters, f"{tuned.proposals} x"])
        bare = faiss.IndexRefineFlat(index, faiss.swig_ptr(vectors_ND))
        bare.k_factor = tuned.proposals
        searches[f"ours, {way_name}"] = lambda q: approximate.search(q, K).reference_ids_NK
        searches[f"faiss {way_name}, refined"] = asking(bare)
    except UserError as none_reaches:
        print(none_reaches)
    truth = exact.search(queries, K).reference_ids_NK
    ways = {
        f"{label}; finds {found(search(queries), truth)}": rating(search, queries)
        for label, search in searches.items()
    }
    title = f"{name}: {len(queries_QD):,} queries among {len(vectors_ND):,} x {vectors_ND.shape[1]}"
    return compare(title, ways, unit="queries/s", rounds=rounds)


def named(what: str, vectors_ND: Vectors) -> EmbeddingSet:
    ids = tuple(f"{what}{n:07d}" for n in range(len(vectors_ND)))
    return EmbeddingSet(ids=ids, vectors_ND=vectors_ND, provenance={"embedder": "benchmark"})


def asking(index: faiss.Index) -> Callable[[EmbeddingSet], NDArray[np.object_]]:
    """The bare library; names stand for positions, as `named` gives them."""

    def search(queries: EmbeddingSet) -> NDArray[np.object_]:
        vectors = queries.vectors_ND
        blocks = [
            index.search(vectors[start : start + QUERIES_AT_ONCE], K)[1]
            for start in range(0, len(vectors), QUERIES_AT_ONCE)
        ]
        return np.concatenate(blocks)

    return search


def rating(search: Callable[[EmbeddingSet], Any], queries: EmbeddingSet) -> Callable[[], float]:
    return lambda: rate_of(len(queries.ids), lambda: search(queries))


def found(answers_QK: NDArray[Any], truth_QK: NDArray[np.object_]) -> str:
    """Shares of the nearest, and of all K."""
    if answers_QK.dtype != object:
        answers_QK = np.char.mod("known%07d", answers_QK).astype(object)
    first = np.mean(answers_QK[:, 0] == truth_QK[:, 0])
    every = np.mean([len(set(a) & set(b)) / K for a, b in zip(answers_QK, truth_QK, strict=True)])
    return f"{first:.4f} / {every:.4f}"


if __name__ == "__main__":
    tyro.cli(main)
