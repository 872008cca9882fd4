"""Candidates: the references that each query is compared with, whoever proposes them.

Axes: N queries, K candidates, D values of a vector.
"""

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet, Neighbours, positions_of


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
    known = [set(row) for row in neighbours.reference_ids_NK]
    new_NK = np.array(
        [["" if i in known[n] else i for i in row] for n, row in enumerate(proposed_NK)], object
    ).reshape(proposed_NK.shape)
    similarity_NK = np.full(new_NK.shape, -np.inf, np.float32)
    rows, columns = np.nonzero(new_NK != "")
    at = positions_of(references.ids, list(new_NK[rows, columns]), what="embeddings")
    cosines = np.einsum("pd,pd->p", queries.vectors_ND[rows], references.vectors_ND[at])
    similarity_NK[rows, columns] = np.minimum(cosines, 1.0)
    return Neighbours(
        query_ids=neighbours.query_ids,
        reference_ids_NK=np.hstack([neighbours.reference_ids_NK, new_NK]),
        similarity_NK=np.hstack([neighbours.similarity_NK, similarity_NK]),
    )
