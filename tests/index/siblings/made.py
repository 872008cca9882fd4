"""Trials of siblings with given scores, and an embedding with planted identities."""

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.copies.guarantee import Trials
from index.siblings.features import KnownIdentities
from index.siblings.score import SiblingScore
from index.siblings.trials import SiblingTrials

SCORE = SiblingScore(weights=(1.0, 0.0, 0.0, 0.0, 0.5), intercept=-1.0)


def sibling_trials_of(
    known: NDArray[np.float64],
    correct: NDArray[np.bool_],
    unknown: NDArray[np.float64],
    labels_right: NDArray[np.bool_] | None = None,
) -> SiblingTrials:
    """Return trials, all of them independent, whose labels are right where the identity is."""
    trials = Trials(known_K=known, correct_K=correct, unknown_U=unknown)
    right = correct if labels_right is None else labels_right
    return SiblingTrials(
        score=SCORE,
        every=trials,
        every_label_right_K=right,
        by_identity=trials,
        by_labels=Trials(known_K=known, correct_K=right, unknown_U=unknown),
    )


def embedding(rows: dict[str, list[float]]) -> EmbeddingSet:
    """Return vectors, scaled to unit length."""
    vectors = np.array(list(rows.values()), float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbeddingSet(
        ids=tuple(rows), vectors_ND=vectors.astype(np.float32), provenance={"embedder": "planted"}
    )


def planted_identities(
    identities: int, fields: int, *, spread: float, dimension: int = 16, seed: int = 0
) -> KnownIdentities:
    """Return identities with fields around random centres; their ids read `identity.field`."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities, dimension))
    rows = {
        f"{n}.{m}": (centres[n] + spread * rng.normal(size=dimension)).tolist()
        for n in range(identities)
        for m in range(fields)
    }
    return KnownIdentities.of(embedding(rows), {i: i.split(".")[0] for i in rows})


def no_candidates(query_ids: tuple[str, ...]) -> tuple[Neighbours, NDArray[np.float64]]:
    """Return candidates and registration scores of queries without any."""
    ids = np.full((len(query_ids), 1), "", dtype=object)
    similarity = np.full((len(query_ids), 1), -np.inf, np.float32)
    found = Neighbours(query_ids=query_ids, reference_ids_NK=ids, similarity_NK=similarity)
    return found, np.full((len(query_ids), 1), -1.0)
