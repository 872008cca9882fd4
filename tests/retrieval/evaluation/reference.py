"""Compute the evaluation naively: slow, short and obviously correct."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet


class GivenSimilarities:
    """Provide a matrix Q x G as `Similarities`, in blocks of a given number of queries."""

    def __init__(
        self,
        query_ids: Sequence[str],
        reference_ids: Sequence[str],
        similarity_QG: NDArray[np.float32],
        rows_at_once: int = 2,
    ) -> None:
        self.query_ids, self.reference_ids = tuple(query_ids), tuple(reference_ids)
        self.similarity_QG, self.rows_at_once = similarity_QG, rows_at_once

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        for start in range(0, len(self.query_ids), self.rows_at_once):
            rows = slice(start, min(start + self.rows_at_once, len(self.query_ids)))
            block = self.similarity_QG[rows].copy()
            for n, query_id in enumerate(self.query_ids[rows]):
                for g, reference_id in enumerate(self.reference_ids):
                    if query_id == reference_id:
                        block[n, g] = -np.inf
            yield rows, block


def scores_of(
    query_id: str,
    reference_ids: Sequence[str],
    similarity_G: NDArray[np.float32],
    classes: Mapping[str, Hashable],
) -> dict[str, float]:
    """Score one query by sorting all references and walking down the list."""
    ranking = sorted(
        (-float(similarity), place, reference_id)
        for place, (similarity, reference_id) in enumerate(
            zip(similarity_G, reference_ids, strict=True)
        )
        if reference_id != query_id
    )
    right = [
        query_id in classes and i in classes and classes[i] == classes[query_id]
        for _, _, i in ranking
    ]
    r = sum(right)
    if r == 0:
        return {"relevant": 0}
    precisions = [sum(right[:k]) / k for k in range(1, r + 1) if right[k - 1]]
    return {
        "relevant": r,
        "first_rank": right.index(True) + 1,
        "r_precision": sum(right[:r]) / r,
        "average_precision": sum(precisions) / r,
    }


def all_pairs(
    ids: Sequence[str], classes: Mapping[str, Hashable]
) -> dict[bool, set[frozenset[str]]]:
    """Return every pair of ids with a class, by whether the class is the same."""
    pairs: dict[bool, set[frozenset[str]]] = {True: set(), False: set()}
    for a, b in combinations([i for i in ids if i in classes], 2):
        pairs[classes[a] == classes[b]].add(frozenset((a, b)))
    return pairs


def accepted_at(rate: float, same: Sequence[float], different: Sequence[float]) -> int:
    """Count the same pairs at the lowest threshold that few enough different pairs reach."""
    thresholds = [
        t
        for t in (*same, *different)
        if sum(d >= t for d in different) <= rate * len(different) + 1e-9
    ]
    return max((sum(s >= t for s in same) for t in thresholds), default=0)


def identified_at(
    rate: float, genuine: Sequence[tuple[float, bool]], impostors: Sequence[float]
) -> int:
    """Count the genuine probes (similarity, nearest is right) at the best allowed threshold."""
    candidates = [similarity for similarity, _ in genuine]
    allowed = [
        t for t in candidates if sum(i >= t for i in impostors) <= rate * len(impostors) + 1e-9
    ]
    return max((sum(right and s >= t for s, right in genuine) for t in allowed), default=0)


def embeddings(vectors: dict[str, Sequence[float]]) -> EmbeddingSet:
    """Return embeddings of unit length."""
    rows = np.array(list(vectors.values()), np.float32)
    return EmbeddingSet(
        ids=tuple(vectors),
        vectors_ND=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        provenance={},
    )
