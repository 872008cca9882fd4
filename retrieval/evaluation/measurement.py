"""Measure one protocol: ranking, verification and open-set identification.

Axis Q: queries (probes).
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.metrics import Share
from retrieval.class_vectors import ClassVectors
from retrieval.evaluation.protocols import Protocol, class_text
from retrieval.evaluation.ranking import QueryScores, rank_queries
from retrieval.evaluation.verification import Verification, verify
from retrieval.postprocessing.similarity import CosineSimilarities

FALSE_ALARM_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Identification:
    """Store the result of identifying probes in a gallery that contains some of their classes.

    Attributes:
        false_alarm_rate: Highest allowed share of impostors that reach the threshold.
        threshold: Lowest similarity threshold that respects this rate.
        genuine: Number of probes whose class is in the gallery.
        identified: Number of genuine probes whose nearest reference has their class and reaches the
            threshold. Its share of the genuine probes is the detection and identification rate.
        nearest_right: Number of genuine probes whose nearest reference has their class, at any
            similarity. Its share is recall@1 of the closed set.
        impostors: Number of probes whose class is not in the gallery.
        false_alarms: Number of impostors that reach the threshold.
    """

    false_alarm_rate: float
    threshold: float
    genuine: int
    identified: int
    nearest_right: int
    impostors: int
    false_alarms: int


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
    """

    protocol: Protocol
    scores: QueryScores
    verification: Verification | None
    identification: Identification | None
    by_class_vectors: Share | None = None


def measure(
    protocol: Protocol,
    vectors: EmbeddingSet,
    *,
    seed: int,
    class_vectors: ClassVectors | None = None,
) -> Measurement:
    """Return all results of a protocol.

    Args:
        protocol: The queries, the references and their classes.
        vectors: Embeddings of at least the queries and references.
        seed: Seed of the pairs that are drawn for verification and of their folds.
        class_vectors: Class vectors with which the queries are compared, too.

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
    )


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
    known = scores.relevant_Q > 0
    alarms = np.sort(scores.nearest_similarity_Q[~known])[::-1]
    allowed = int(len(alarms) * false_alarm_rate + 1e-9)
    if allowed < 1 or not known.any():
        return None
    # Just above the first impostor that must not pass, so that ties with it do not pass either.
    threshold = np.nextafter(alarms[allowed], np.float32(np.inf))
    right = known & (scores.first_rank_Q == 1)
    return Identification(
        false_alarm_rate=false_alarm_rate,
        threshold=float(threshold),
        genuine=int(known.sum()),
        identified=int((right & (scores.nearest_similarity_Q >= threshold)).sum()),
        nearest_right=int(right.sum()),
        impostors=len(alarms),
        false_alarms=int((alarms >= threshold).sum()),
    )
