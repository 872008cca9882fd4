"""Candidates: the references that each query is compared with, whoever proposes them.

Axes: N queries, K candidates, D values of a vector, V references that were voted for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet, Neighbours, positions_of
from atlas.dataset.pair_cosines import pair_cosines


@dataclass(frozen=True, kw_only=True)
class Candidates(Neighbours):
    """The references that each query is compared with.

    Attributes:
        matched_NK: Whether the keypoints of each pair are matched one by one. Pairs whose keypoints
            hardly look alike are aligned by their small blocks alone, which takes less time.
    """

    matched_NK: NDArray[np.bool_]

    def only(self, rows: Sequence[int]) -> "Candidates":
        """Return the candidates of some queries."""
        at = np.asarray(rows, np.intp)
        return Candidates(
            query_ids=tuple(self.query_ids[row] for row in at),
            reference_ids_NK=self.reference_ids_NK[at],
            similarity_NK=self.similarity_NK[at],
            matched_NK=self.matched_NK[at],
        )

    @staticmethod
    def of(neighbours: Neighbours, voted_NV: NDArray[np.object_] | None = None) -> "Candidates":
        """Return candidates whose keypoints are matched if the query's keypoints voted for them.

        Args:
            neighbours: The candidates.
            voted_NV: The ids of the references that the keypoints of each query voted for. If it is
                not given, the keypoints of all candidates are matched.
        """
        ids_NK = neighbours.reference_ids_NK
        matched_NK = np.ones(ids_NK.shape, bool)
        if voted_NV is not None:
            matched_NK = _listed(ids_NK, voted_NV)
        return Candidates(
            query_ids=neighbours.query_ids,
            reference_ids_NK=ids_NK,
            similarity_NK=neighbours.similarity_NK,
            matched_NK=matched_NK,
        )


def with_proposed(
    neighbours: Neighbours,
    proposed_NK: NDArray[np.object_],
    queries: EmbeddingSet,
    references: EmbeddingSet,
) -> Neighbours:
    """Return the candidates, followed by those that are proposed in addition.

    The similarity of an additional candidate is the cosine of its embedding, too. What both propose
    is listed once, and its second place is "".

    Args:
        neighbours: The candidates.
        proposed_NK: The ids of further candidates of each query.
        queries: The vectors of the queries.
        references: The vectors of the references.
    """
    new_NK = np.where(_listed(proposed_NK, neighbours.reference_ids_NK), "", proposed_NK)
    similarity_NK = np.full(new_NK.shape, -np.inf, np.float32)
    rows, columns = np.nonzero(new_NK != "")
    at = positions_of(references.ids, new_NK[rows, columns].tolist(), what="embeddings")
    cosines = pair_cosines(queries.vectors_ND, references.vectors_ND, rows, at)
    similarity_NK[rows, columns] = np.minimum(cosines, 1.0)
    return Neighbours(
        query_ids=neighbours.query_ids,
        reference_ids_NK=np.hstack([neighbours.reference_ids_NK, new_NK]),
        similarity_NK=np.hstack([neighbours.similarity_NK, similarity_NK]),
    )


def with_pairs(
    found: Candidates,
    pairs: Mapping[str, Sequence[str]],
    queries: EmbeddingSet,
    references: EmbeddingSet,
) -> Candidates:
    """Return candidates that include given references, whose keypoints are matched.

    Args:
        found: The candidates.
        pairs: The ids of references that must be candidates, by the id of the query.
        queries: The vectors of the queries, in the same order.
        references: The vectors of the references.
    """
    rows = [pairs.get(i, ()) for i in found.query_ids]
    width = max(map(len, rows), default=0)
    given_NK = np.array([[*row, *[""] * (width - len(row))] for row in rows], object)
    given_NK = given_NK.reshape(len(rows), width)
    both = with_proposed(found, given_NK, queries, references)
    return Candidates(
        query_ids=both.query_ids,
        reference_ids_NK=both.reference_ids_NK,
        similarity_NK=both.similarity_NK,
        matched_NK=np.hstack([found.matched_NK, np.ones(given_NK.shape, bool)]),
    )


def _listed(ids_NK: NDArray[np.object_], among_NV: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return whether each id is among those of the same row, N x K."""
    rows = zip(ids_NK.tolist(), map(set, among_NV.tolist()), strict=True)
    listed = [[image_id in among for image_id in row] for row, among in rows]
    return np.array(listed, bool).reshape(ids_NK.shape)
