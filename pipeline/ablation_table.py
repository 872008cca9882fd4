"""The figures of an ablation: every combination of what is done after the network.

Axis Q: queries.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.artifacts import EmbeddingSet
from atlas.errors import UserError
from pipeline.vectors import Views
from retrieval.evaluation.protocols import Protocol
from retrieval.evaluation.ranking import QueryScores, rank_queries
from retrieval.reranking import reranked_similarities
from retrieval.score_normalisation import normalised_similarities
from retrieval.similarity import CosineSimilarities, Similarities
from retrieval.whitening import class_whitening_of, whiten, whitening_of

Whitening = Literal["none", "PCA", "class"]
Ranking = Literal["cosine", "score normalisation", "re-ranking"]
WHITENINGS: tuple[Whitening, ...] = ("none", "PCA", "class")
RANKINGS: tuple[Ranking, ...] = ("cosine", "score normalisation", "re-ranking")


@dataclass(frozen=True, kw_only=True)
class Combination:
    """What is done, in this order. whitening "class": by the scatter within classes."""

    views: Views
    whitening: Whitening
    ranking: Ranking

    @property
    def name(self) -> str:
        done = (
            (self.views > 1, f"{self.views} views"),
            (self.whitening != "none", f"{self.whitening} whitening"),
            (self.ranking != "cosine", self.ranking),
        )
        return " + ".join(name for is_done, name in done if is_done) or "nothing"


@dataclass(frozen=True, kw_only=True)
class Background:
    """What whitening and cohort are learned from, never queries. classes: of ids that have one."""

    ids: tuple[str, ...]
    classes: Mapping[str, Hashable]


def ablation_table(
    protocols: Sequence[Protocol],
    vectors_by_views: Mapping[Views, EmbeddingSet],
    background: Background,
) -> pd.DataFrame:
    """A row for each protocol and combination, the one that does least first.

    Columns: protocol, combination, its three parts, queries (those with a right answer), top1,
    r_precision, map_at_r, and of each of these `_gain` over the first combination with its standard
    error, over queries as pairs. Protocols without a right answer have no rows.
    Raises UserError where none has one.
    """
    rows: dict[str, list[dict[str, Any]]] = {protocol.name: [] for protocol in protocols}
    first: dict[str, dict[str, NDArray[np.float64]]] = {}
    for combination, protocol, scores in _ranked(protocols, vectors_by_views, background):
        of_queries = _of_queries(scores)
        base = first.setdefault(protocol.name, of_queries)
        if len(of_queries["top1"]):
            rows[protocol.name].append(
                {
                    "protocol": protocol.name,
                    "combination": combination.name,
                    **vars(combination),
                    "queries": len(of_queries["top1"]),
                    **{name: values_Q.mean() for name, values_Q in of_queries.items()},
                    **_gains(of_queries, base),
                }
            )
    found = [row for of_protocol in rows.values() for row in of_protocol]
    if not found:
        raise UserError("nothing to measure by: no query has a reference of its class")
    return pd.DataFrame(found)


def _ranked(
    protocols: Sequence[Protocol],
    vectors_by_views: Mapping[Views, EmbeddingSet],
    background: Background,
) -> Iterator[tuple[Combination, Protocol, QueryScores]]:
    for views, whitening in product(vectors_by_views, WHITENINGS):
        vectors = _whitened(whitening, vectors_by_views[views], background)
        cohort = vectors.aligned_to(background.ids)
        for protocol, ranking in product(protocols, RANKINGS):
            queries = vectors.aligned_to(protocol.query_ids)
            references = vectors.aligned_to(protocol.reference_ids)
            similarities = _similarities(ranking, queries, references, cohort)
            combination = Combination(views=views, whitening=whitening, ranking=ranking)
            yield combination, protocol, rank_queries(similarities, protocol.classes)


def _whitened(how: Whitening, vectors: EmbeddingSet, background: Background) -> EmbeddingSet:
    if how == "none":
        return vectors
    if how == "PCA":
        return whiten(whitening_of(vectors.aligned_to(background.ids).vectors_ND), vectors)
    ids = [image_id for image_id in background.ids if image_id in background.classes]
    classes = [background.classes[image_id] for image_id in ids]
    return whiten(class_whitening_of(vectors.aligned_to(ids).vectors_ND, classes), vectors)


def _similarities(
    how: Ranking, queries: EmbeddingSet, references: EmbeddingSet, cohort: EmbeddingSet
) -> Similarities:
    if how == "score normalisation":
        return normalised_similarities(queries, references, cohort)
    if how == "re-ranking":
        return reranked_similarities(queries, references)
    return CosineSimilarities(queries=queries, references=references)


def _of_queries(scores: QueryScores) -> dict[str, NDArray[np.float64]]:
    """The scores of each query that has a right answer."""
    counted = scores.at(np.flatnonzero(scores.relevant_Q > 0))
    return {
        "top1": (counted.first_rank_Q == 1).astype(np.float64),
        "r_precision": counted.r_precision_Q,
        "map_at_r": counted.average_precision_Q,
    }


def _gains(
    of_queries: Mapping[str, NDArray[np.float64]], base: Mapping[str, NDArray[np.float64]]
) -> dict[str, float]:
    gains = {}
    for name, values_Q in of_queries.items():
        gain_Q = values_Q - base[name]
        gains[f"{name}_gain"] = float(gain_Q.mean())
        gains[f"{name}_gain_error"] = float(gain_Q.std() / np.sqrt(max(len(gain_Q) - 1, 1)))
    return gains
