"""All figures of one protocol: ranking, verification and open-set identification.

Axis Q: queries (probes).
"""

from dataclasses import dataclass

import numpy as np

from atlas.dataset.artifacts import EmbeddingSet
from retrieval.evaluation.protocols import Protocol
from retrieval.evaluation.ranking import QueryScores, rank_queries
from retrieval.evaluation.verification import Verification, verify
from retrieval.postprocessing.similarity import CosineSimilarities

FALSE_ALARM_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Identification:
    """Probes against a gallery that knows some of them.

    threshold: the lowest at which no more than the false alarm rate of impostors raise an alarm.
    genuine: probes whose class is in the gallery. identified: those whose nearest reference is of
        their class and reaches the threshold; their share is the detection and identification
        rate. nearest_right: those whose nearest is of their class at any similarity, which is
        recall@1 of the closed set.
    impostors: probes whose class is not in the gallery. false_alarms: those that reach the
        threshold.
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
    """verification: of pairs of queries, which no embedder trained on; None where there are too
    few. identification: None where too few queries have no right answer."""

    protocol: Protocol
    scores: QueryScores
    verification: Verification | None
    identification: Identification | None


def measure(protocol: Protocol, vectors: EmbeddingSet, *, seed: int) -> Measurement:
    """seed: of the pairs that are drawn and of their folds. Raises UserError for missing ids."""
    queries = vectors.aligned_to(protocol.query_ids)
    references = vectors.aligned_to(protocol.reference_ids)
    similarities = CosineSimilarities(queries=queries, references=references)
    scores = rank_queries(similarities, protocol.classes)
    return Measurement(
        protocol=protocol,
        scores=scores,
        verification=verify(queries, protocol.classes, seed=seed),
        identification=identify(scores),
    )


def identify(
    scores: QueryScores, *, false_alarm_rate: float = FALSE_ALARM_RATE
) -> Identification | None:
    """Detection and identification rate at rank 1 (Phillips, Grother & Micheals 2011, "Evaluation
    methods in face recognition", Handbook of Face Recognition).

    Queries without a relevant reference are the impostors. None without genuine probes, or with
    fewer impostors than one false alarm needs (100 at a rate of .01).
    """
    known = scores.relevant_Q > 0
    alarms = np.sort(scores.nearest_similarity_Q[~known])[::-1]
    allowed = int(len(alarms) * false_alarm_rate + 1e-9)
    if allowed < 1 or not known.any():
        return None
    # Just above the first impostor that may not pass, so that ties with it do not pass either.
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
