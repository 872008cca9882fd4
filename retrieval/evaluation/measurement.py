"""Measure one protocol: ranking, verification and open-set identification.

Axis Q: queries (probes).
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import cast

from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.metrics import Share, label_matrix, macro_f1
from retrieval.class_vectors import ClassVectors
from retrieval.evaluation.identification import (
    FALSE_ALARM_RATE,
    Identification,
    identification_of,
)
from retrieval.evaluation.protocols import Protocol, class_text
from retrieval.evaluation.ranking import QueryScores, rank_queries
from retrieval.evaluation.verification import Verification, verify
from retrieval.postprocessing.similarity import CosineSimilarities


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Store all results of one protocol.

    Attributes:
        protocol: The protocol.
        scores: The ranking scores of each query.
        verification: Verification on pairs of queries; None where there are too few pairs.
        identification: Open-set identification; None where there are too few impostors.
        by_class_vectors: Queries whose nearest class vector is that of their class; None where the
            queries were not compared with class vectors.
        nearest_macro_f1: Macro F1 if each query takes the labels of its nearest reference; None
            where classes are not sets of labels.
    """

    protocol: Protocol
    scores: QueryScores
    verification: Verification | None
    identification: Identification | None
    by_class_vectors: Share | None = None
    nearest_macro_f1: float | None = None


def measure(
    protocol: Protocol,
    vectors: EmbeddingSet,
    *,
    seed: int,
    class_vectors: ClassVectors | None = None,
    label_count: int | None = None,
) -> Measurement:
    """Return all results of a protocol.

    Args:
        protocol: The queries, the references and their classes.
        vectors: Embeddings of at least the queries and references.
        seed: Seed of the pairs that are drawn for verification and of their folds.
        class_vectors: Class vectors with which the queries are compared, too.
        label_count: Number of labels, if the classes are sets of labels.

    Raises:
        UserError: A query or reference has no embedding.
    """
    queries = vectors.aligned_to(protocol.query_ids)
    references = vectors.aligned_to(protocol.reference_ids)
    similarities = CosineSimilarities(queries=queries, references=references)
    scores = rank_queries(similarities, protocol.classes)
    return Measurement(
        protocol=protocol,
        scores=scores,
        verification=verify(queries, protocol.classes, seed=seed),
        identification=identify(scores),
        by_class_vectors=(
            top1_by_class_vectors(queries, protocol.classes, class_vectors)
            if class_vectors is not None
            else None
        ),
        nearest_macro_f1=(
            macro_f1_of_nearest(scores, protocol.classes, label_count) if label_count else None
        ),
    )


def macro_f1_of_nearest(
    scores: QueryScores, classes: Mapping[str, Hashable], label_count: int
) -> float:
    """Return the macro F1 if each query takes the labels of its nearest reference.

    Args:
        scores: The scores of the queries.
        classes: The set of labels of each image, a tuple of numbers.
        label_count: Number of labels.
    """
    truth, taken = (
        label_matrix([cast(tuple[int, ...], classes.get(i, ())) for i in ids], label_count)
        for ids in (scores.query_ids, scores.nearest_ids)
    )
    return macro_f1(truth, taken)


def top1_by_class_vectors(
    queries: EmbeddingSet, classes: Mapping[str, Hashable], class_vectors: ClassVectors
) -> Share:
    """Return the share of queries whose nearest class vector is that of their class.

    This is the accuracy of the trained loss without its margin, as if it classified the queries.
    """
    found = class_vectors.nearest(queries.vectors_ND)
    right = sum(
        class_text(classes[query]) == name for query, name in zip(queries.ids, found, strict=True)
    )
    return Share(count=right, of=len(found))


def identify(
    scores: QueryScores, *, false_alarm_rate: float = FALSE_ALARM_RATE
) -> Identification | None:
    """Return the detection and identification rate at rank 1.

    Queries without a relevant reference are the impostors. The result is None if there are no
    genuine probes, or fewer impostors than one false alarm needs (100 at a rate of 0.01).

    Source: Phillips, Grother & Micheals, "Evaluation methods in face recognition", Handbook of Face
    Recognition (2011).
    """
    return identification_of(
        scores.nearest_similarity_Q,
        genuine_Q=scores.relevant_Q > 0,
        right_Q=scores.first_rank_Q == 1,
        false_alarm_rate=false_alarm_rate,
    )
