"""Score how high the references of each query's own class rank.

A reference is relevant to the queries of its class, but never to itself. Among equally similar
references, the first in their order ranks first.

Axes: Q queries, B queries of one block, G references.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.postprocessing.similarity import Similarities

CUTOFFS = (1, 2, 4, 8, 10)
CMC_RANKS = tuple(range(1, 51))
LAST = np.uint64(2**64 - 1)


@dataclass(frozen=True, kw_only=True)
class QueryScores:
    """Store the ranking scores of each query.

    Attributes:
        query_ids: The queries.
        relevant_Q: Number R of relevant references. A query with R = 0 does not count in averages:
            its first rank is 0 and its other scores are NaN.
        first_rank_Q: Rank of the first relevant reference, counted from 1.
        r_precision_Q: Share of relevant references among the R nearest.
        average_precision_Q: The query's term of MAP@R: the mean over the R nearest of the precision
            up to each relevant one (Musgrave et al. 2020, "A metric learning reality check").
        nearest_ids: The nearest reference, or "" if there is none.
        nearest_similarity_Q: Similarity of the nearest reference, or -inf if there is none.
    """

    query_ids: tuple[str, ...]
    relevant_Q: NDArray[np.int64]
    first_rank_Q: NDArray[np.int64]
    r_precision_Q: NDArray[np.float64]
    average_precision_Q: NDArray[np.float64]
    nearest_ids: tuple[str, ...]
    nearest_similarity_Q: NDArray[np.float32]

    def at(self, places: Sequence[int] | NDArray[np.int64]) -> "QueryScores":
        """Return the scores of the queries at these positions."""
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
    """Store averages over queries; they are NaN if no query counts.

    Attributes:
        queries: Number of queries with a relevant reference.
        left_out: Number of other queries, which do not count.
        hits_at: Number of queries with a relevant reference among their k nearest, by k. The share
            is recall@k, which equals precision@1 for k = 1, and the cumulative match characteristic
            over all k up to 50.
        r_precision: Mean R-precision.
        map_at_r: Mean average precision at R.
        mean_reciprocal_rank: Mean of the reciprocal of the first relevant rank.
    """

    queries: int
    left_out: int
    hits_at: dict[int, int]
    r_precision: float
    map_at_r: float
    mean_reciprocal_rank: float


def rank_queries(similarities: Similarities, classes: Mapping[str, Hashable]) -> QueryScores:
    """Return the scores of every query.

    Only one block of similarities is in memory at a time.

    Args:
        similarities: Similarities of queries to references.
        classes: Classes of queries and references; an id without one is relevant to nothing.

    Raises:
        ValueError: A similarity is NaN.

    Example:
        >>> from atlas.dataset.artifacts import EmbeddingSet
        >>> from retrieval.postprocessing.similarity import CosineSimilarities
        >>> rows = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
        >>> images = EmbeddingSet(ids=("a", "b", "c"), vectors_ND=rows, provenance={})
        >>> cosines = CosineSimilarities(queries=images, references=images)
        >>> scores = rank_queries(cosines, {"a": "cat", "b": "dog", "c": "dog"})
        >>> scores.nearest_ids, scores.first_rank_Q.tolist()
        (('b', 'a', 'b'), [0, 2, 1])
    """
    ids = similarities.reference_ids
    place = {image_id: n for n, image_id in enumerate(ids)}
    places_of_class = _places(ids, classes)
    rows = []
    for queries, similarity_BG in similarities.blocks():
        if np.isnan(similarity_BG).any():
            raise ValueError("a similarity is NaN, which has no rank")
        for query_id, similarity_G in zip(
            similarities.query_ids[queries], similarity_BG, strict=True
        ):
            of_class = places_of_class.get(classes.get(query_id), np.empty(0, np.int64))
            rows.append(_scored(similarity_G, of_class, place.get(query_id)))
    relevant, first, r_precision, average_precision, nearest, similarity = (
        zip(*rows, strict=True) if rows else ((),) * 6
    )
    return QueryScores(
        query_ids=similarities.query_ids,
        relevant_Q=np.array(relevant, np.int64),
        first_rank_Q=np.array(first, np.int64),
        r_precision_Q=np.array(r_precision, np.float64),
        average_precision_Q=np.array(average_precision, np.float64),
        nearest_ids=tuple(ids[n] if n >= 0 else "" for n in nearest),
        nearest_similarity_Q=np.array(similarity, np.float32),
    )


def summarise(scores: QueryScores, cutoffs: Iterable[int] = CUTOFFS) -> RankingSummary:
    """Return the averages over all queries that have a relevant reference.

    Args:
        scores: The scores of the queries.
        cutoffs: The ranks k at which hits are counted.
    """
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
    """Return the scores of each group of queries, such as a class.

    Queries without a group are left out.
    """
    places = _places(scores.query_ids, groups)
    return {group: scores.at(own) for group, own in places.items()}


def _scored(
    similarity_G: NDArray[np.float32], relevant: NDArray[np.int64], own: int | None
) -> tuple[int, int, float, float, int, float]:
    """Return the scores of one query in the order of `QueryScores`.

    The nearest reference is returned by position, or -1 if there is none.

    Args:
        similarity_G: Similarity of the query to each reference.
        relevant: Positions of the references of its class.
        own: Position of the query in the gallery, if it is there.
    """
    keys_G = ranking_keys(similarity_G)
    if own is not None:
        keys_G[own], relevant = LAST, relevant[relevant != own]
    nearest = int(keys_G.argmin()) if len(keys_G) else -1
    if nearest == -1 or keys_G[nearest] == LAST:
        nearest, similarity = -1, -np.inf
    else:
        similarity = float(similarity_G[nearest])
    r = len(relevant)
    if r == 0:
        return 0, 0, np.nan, np.nan, nearest, similarity
    ranks_R = np.searchsorted(np.sort(keys_G), np.sort(keys_G[relevant])) + 1
    hits = ranks_R[ranks_R <= r]
    average_precision = float((np.arange(1, len(hits) + 1) / hits).sum() / r)
    return r, int(ranks_R[0]), len(hits) / r, average_precision, nearest, similarity


def ranking_keys(similarity_G: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return keys that sort references by falling similarity and then by position.

    All keys differ, so any way to sort or partition them gives the same ranks. The bits of positive
    floats order as the floats do; negative floats do so once their bits are inverted.
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
