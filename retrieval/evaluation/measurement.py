"""All figures of one protocol."""

from dataclasses import dataclass

from atlas.artifacts import EmbeddingSet
from retrieval.evaluation.open_set import Identification, identify
from retrieval.evaluation.protocols import Protocol
from retrieval.evaluation.ranking import QueryScores, rank_queries
from retrieval.evaluation.verification import Verification, verify
from retrieval.similarity import CosineSimilarities


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
