"""How far up each query's own kind ranks. Axes: Q queries, B queries of one block, G references.

A reference is relevant to the queries of its class, an image never to itself. Of references that
are equally similar the first in their order ranks first.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.postprocessing.similarity import Similarities

CUTOFFS = (1, 2, 4, 8, 10)
CMC_RANKS = tuple(range(1, 51))
LAST = np.uint64(2**64 - 1)


@dataclass(frozen=True, kw_only=True)
class QueryScores:
    """What each query found.

    relevant_Q: R, its relevant references. A query with R = 0 counts in no average: its first rank
        is 0, its other scores are NaN.
    first_rank_Q: of its first relevant reference, from 1.
    r_precision_Q: the share of relevant ones among its R nearest.
    average_precision_Q: its part of MAP@R, the mean over the R nearest of the precision up to each
        relevant one (Musgrave et al. 2020, "A metric learning reality check").
    nearest_ids, nearest_similarity_Q: its nearest reference; "" and -inf where there is none.
    """

    query_ids: tuple[str, ...]
    relevant_Q: NDArray[np.int64]
    first_rank_Q: NDArray[np.int64]
    r_precision_Q: NDArray[np.float64]
    average_precision_Q: NDArray[np.float64]
    nearest_ids: tuple[str, ...]
    nearest_similarity_Q: NDArray[np.float32]

    def at(self, places: Sequence[int] | NDArray[np.int64]) -> "QueryScores":
        """Those of the queries at these places."""
        return QueryScores(
            query_ids=tuple(self.query_ids[n] for n in places),
            relevant_Q=self.relevant_Q[places],
            first_rank_Q=self.first_rank_Q[places],
            r_precision_Q=self.r_precision_Q[places],
            average_precision_Q=self.average_precision_Q[places],
            nearest_ids=tuple(self.nearest_ids[n] for n in places),
            nearest_similarity_Q=self.nearest_similarity_Q[places],
        )


@dataclass(frozen=True, kw_only=True)
class RankingSummary:
    """Averages over queries; NaN where no query counts.

    queries: those with a relevant reference; left_out: the others.
    hits_at: k -> queries with a relevant one among their k nearest: recall@k is their share, as
        are precision@1 (k = 1) and the cumulative match characteristic (all k up to 50).
    """

    queries: int
    left_out: int
    hits_at: dict[int, int]
    r_precision: float
    map_at_r: float
    mean_reciprocal_rank: float


def rank_queries(similarities: Similarities, classes: Mapping[str, Hashable]) -> QueryScores:
    """Scores of every query, in memory of one block of similarities.

    classes: of queries and references; an id without one is relevant to nothing.
    Raises ValueError where a similarity is NaN.
    """
    gallery = _Gallery(similarities.reference_ids, classes)
    rows = list(_rows(similarities, gallery))
    relevant, first, r_precision, average_precision, nearest, similarity = (
        zip(*rows, strict=True) if rows else ((),) * len(_Row._fields)
    )
    return QueryScores(
        query_ids=similarities.query_ids,
        relevant_Q=np.array(relevant, np.int64),
        first_rank_Q=np.array(first, np.int64),
        r_precision_Q=np.array(r_precision, np.float64),
        average_precision_Q=np.array(average_precision, np.float64),
        nearest_ids=tuple(nearest),
        nearest_similarity_Q=np.array(similarity, np.float32),
    )


def summarise(scores: QueryScores, cutoffs: Iterable[int] = CUTOFFS) -> RankingSummary:
    """The averages over all queries that have a relevant reference."""
    counted = scores.at(np.flatnonzero(scores.relevant_Q > 0))
    first = counted.first_rank_Q
    return RankingSummary(
        queries=len(first),
        left_out=len(scores.query_ids) - len(first),
        hits_at={k: int((first <= k).sum()) for k in cutoffs},
        r_precision=_mean(counted.r_precision_Q),
        map_at_r=_mean(counted.average_precision_Q),
        mean_reciprocal_rank=_mean(1 / first),
    )


def by_group(scores: QueryScores, groups: Mapping[str, Hashable]) -> dict[Hashable, QueryScores]:
    """The scores of each group of queries, such as a class; ids without a group are left out."""
    places = _places(scores.query_ids, groups)
    return {group: scores.at(own) for group, own in places.items()}


class _Row(NamedTuple):
    relevant: int
    first_rank: int
    r_precision: float
    average_precision: float
    nearest_id: str
    nearest_similarity: float


class _Gallery:
    """Where the references of each class stand."""

    def __init__(self, ids: Sequence[str], classes: Mapping[str, Hashable]) -> None:
        self.ids, self.classes = ids, classes
        self.place = {image_id: n for n, image_id in enumerate(ids)}
        self.places_of_class = _places(ids, classes)

    def relevant_to(self, query_id: str) -> NDArray[np.int64]:
        places = self.places_of_class.get(self.classes.get(query_id), np.empty(0, np.int64))
        return np.asarray(places[places != self.place.get(query_id, -1)])


def _rows(similarities: Similarities, gallery: _Gallery) -> Iterator[_Row]:
    for places, similarity_BG in similarities.blocks():
        if np.isnan(similarity_BG).any():
            raise ValueError("a similarity is NaN: it has no rank")
        for query_id, similarity_G in zip(
            similarities.query_ids[places], similarity_BG, strict=True
        ):
            yield _scored(query_id, similarity_G, gallery)


def _scored(query_id: str, similarity_G: NDArray[np.float32], gallery: _Gallery) -> _Row:
    keys_G = ranking_keys(similarity_G)
    if query_id in gallery.place:
        keys_G[gallery.place[query_id]] = LAST
    nearest = int(keys_G.argmin()) if len(keys_G) else -1
    found = nearest >= 0 and bool(keys_G[nearest] < LAST)
    relevant = np.sort(keys_G[gallery.relevant_to(query_id)])
    return _Row(
        len(relevant),
        1 + int((keys_G < relevant[0]).sum()) if len(relevant) else 0,
        *_among_the_r_nearest(keys_G, relevant),
        gallery.ids[nearest] if found else "",
        float(similarity_G[nearest]) if found else -np.inf,
    )


def _among_the_r_nearest(
    keys_G: NDArray[np.uint64], relevant_R: NDArray[np.uint64]
) -> tuple[float, float]:
    """R-precision and the average precision at R. relevant_R: keys, rising."""
    r = len(relevant_R)
    if r == 0:
        return np.nan, np.nan
    nearest_R = np.sort(np.partition(keys_G, r - 1)[:r])
    hits = relevant_R[relevant_R <= nearest_R[-1]]
    ranks = np.searchsorted(nearest_R, hits) + 1
    return len(hits) / r, float((np.arange(1, len(hits) + 1) / ranks).sum() / r)


def ranking_keys(similarity_G: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Numbers that rise as similarities fall, and among equal ones with their place.

    All differ, so any way of sorting or partitioning them gives the same ranks. The bits of
    floats order like the floats once those of negative ones are turned round.
    """
    bits = (similarity_G.astype(np.float32) + 0.0).view(np.uint32)  # + 0: -0 equals 0
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(2**31))
    return (~rising).astype(np.uint64) << np.uint64(32) | np.arange(len(bits), dtype=np.uint64)


def _places(
    ids: Sequence[str], groups: Mapping[str, Hashable]
) -> dict[Hashable, NDArray[np.int64]]:
    places: dict[Hashable, list[int]] = defaultdict(list)
    for n, image_id in enumerate(ids):
        if groups.get(image_id) is not None:
            places[groups[image_id]].append(n)
    return {group: np.array(own, np.int64) for group, own in places.items()}


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
