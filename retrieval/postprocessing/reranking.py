"""Re-rank by shared neighbours: k-reciprocal encoding (Zhong et al. 2017).

Two images of the same class share neighbours, and each is a neighbour of the other. A non-match
that happens to be near does not meet both conditions. Queries count as neighbours too, although
their labels are not used, so the ranking of a query depends on the other queries.

Axes: N images (references, then queries that are not references), Q queries, B queries or images of
one block, G references, K neighbours. Sparse matrices hold some tens of entries for each image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from atlas.dataset.artifacts import EmbeddingSet, positions_of
from atlas.dataset.pair_cosines import pair_cosines
from retrieval.postprocessing.similarity import CosineSimilarities

NEIGHBOURS, EXPANSION_NEIGHBOURS, COSINE_WEIGHT = 20, 6, 0.3  # the paper's k1, k2 and lambda
ROWS_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True)
class RerankedSimilarities(CosineSimilarities):
    """Compute (1 - w) J + w cos, which is 1 minus the distance of the paper (equation 12).

    J is the Jaccard similarity of the encodings. References that share no neighbour with the query
    have J = 0 and are ranked by their cosine similarity, as in the paper.

    Attributes:
        queries: Embeddings of the queries.
        references: Embeddings of the references.
        query_QN: Encodings of the queries over all images, sparse.
        reference_GN: Encodings of the references over all images, sparse.
        cosine_weight: The weight w, above 0.
    """

    query_QN: sparse.csr_array
    reference_GN: sparse.csr_array
    cosine_weight: float = COSINE_WEIGHT

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield the positions of a block of queries with their similarities, B x G."""
        holders_GN = self.reference_GN.tocsc()
        reference_sum_G = self.reference_GN.sum(axis=1)
        for rows, similarity_BG in super().blocks():
            similarity_BG *= self.cosine_weight
            for row, query in enumerate(range(rows.start, rows.stop)):
                query_1N = self.query_QN[[query]]
                shared_G = _shared(query_1N, holders_GN)
                jaccard_G = shared_G / (query_1N.sum() + reference_sum_G - shared_G)
                similarity_BG[row] += (1 - self.cosine_weight) * jaccard_G
            yield rows, similarity_BG


def reranked_similarities(
    queries: EmbeddingSet,
    references: EmbeddingSet,
    *,
    neighbours: int = NEIGHBOURS,
    expansion_neighbours: int = EXPANSION_NEIGHBOURS,
    cosine_weight: float = COSINE_WEIGHT,
) -> RerankedSimilarities:
    """Return the re-ranked similarities of queries to references.

    Args:
        queries: Embeddings of the queries.
        references: Embeddings of the references.
        neighbours: The paper's k1.
        expansion_neighbours: The paper's k2, which counts the image itself.
        cosine_weight: The paper's lambda, the weight of the cosine similarity.
    """
    everyone = _together(queries, references)
    encoding_NN = encodings(
        everyone, neighbours=neighbours, expansion_neighbours=expansion_neighbours
    )
    return RerankedSimilarities(
        queries=queries,
        references=references,
        query_QN=encoding_NN[positions_of(everyone.ids, queries.ids, what="queries")],
        reference_GN=encoding_NN[: len(references.ids)],
        cosine_weight=cosine_weight,
    )


def encodings(
    images: EmbeddingSet, *, neighbours: int, expansion_neighbours: int
) -> sparse.csr_array:
    """Return how strongly each image belongs to the neighbourhood of each other, N x N, sparse.

    The entries are exp(-d) for the members of the expanded set of reciprocal neighbours, where d is
    1 minus the cosine similarity. They are then averaged over the nearest `expansion_neighbours`
    (equations 3 to 11). An image is its own first neighbour.
    """
    nearest_NK = _nearest(images, max(neighbours, expansion_neighbours - 1))
    reciprocal_NN = _reciprocal(nearest_NK[:, : neighbours + 1])
    half_NN = _reciprocal(nearest_NK[:, : neighbours // 2 + 1])
    members_NN = sparse.vstack(
        [
            _expanded(reciprocal_NN[start : start + ROWS_AT_ONCE], half_NN)
            for start in range(0, len(images.ids), ROWS_AT_ONCE)
        ],
        format="csr",
    )
    members_NN.data = np.exp(_cosines(images.vectors_ND, members_NN) - 1)
    expansion_NN = _pattern(nearest_NK[:, :expansion_neighbours])
    return (expansion_NN @ members_NN) / min(expansion_neighbours, nearest_NK.shape[1])


def _together(queries: EmbeddingSet, references: EmbeddingSet) -> EmbeddingSet:
    known = set(references.ids)
    new = [n for n, image_id in enumerate(queries.ids) if image_id not in known]
    return EmbeddingSet(
        ids=references.ids + tuple(queries.ids[n] for n in new),
        vectors_ND=np.concatenate([references.vectors_ND, queries.vectors_ND[new]]),
        provenance=references.provenance,
    )


def _nearest(images: EmbeddingSet, count: int) -> NDArray[np.int64]:
    """Return the positions of the nearest images, the image itself first, N x (count + 1).

    If there are fewer images, the shape is N x N.
    """
    count = min(count, len(images.ids) - 1)
    found_NK = np.empty((len(images.ids), count + 1), np.int64)
    found_NK[:, 0] = np.arange(len(images.ids))
    for rows, similarity_BN in CosineSimilarities(queries=images, references=images).blocks():
        nearest_BK = np.argpartition(-similarity_BN, count - 1, axis=1)[:, :count]
        nearest_BK.sort(axis=1)  # among equal similarities, the first image wins
        found = np.take_along_axis(similarity_BN, nearest_BK, axis=1)
        order_BK = np.argsort(-found, axis=1, kind="stable")
        found_NK[rows, 1:] = np.take_along_axis(nearest_BK, order_BK, axis=1)
    return found_NK


def _pattern(nearest_NK: NDArray[np.int64]) -> sparse.csr_array:
    """Return a matrix that is 1 where an image is among the nearest of another."""
    images, count = nearest_NK.shape
    ones = np.ones(nearest_NK.size, np.float32)
    ends = np.arange(images + 1) * count
    return sparse.csr_array((ones, nearest_NK.ravel(), ends), shape=(images, images))


def _reciprocal(nearest_NK: NDArray[np.int64]) -> sparse.csr_array:
    """Return a matrix that is 1 where two images are among each other's nearest (equation 3)."""
    near_NN = _pattern(nearest_NK)
    return near_NN.multiply(near_NN.T).tocsr()


def _expanded(reciprocal_BN: sparse.csr_array, half_NN: sparse.csr_array) -> sparse.csr_array:
    """Add the neighbours of each neighbour where two thirds of them are shared (equation 4).

    Here `half_NN` contains the reciprocal neighbours among half as many nearest images.
    """
    shared_BN = (reciprocal_BN @ half_NN.T).multiply(reciprocal_BN).tocoo()
    enough = 3 * shared_BN.data >= 2 * half_NN.sum(axis=1)[shared_BN.col]
    where = shared_BN.row[enough], shared_BN.col[enough]
    trusted_BN = sparse.csr_array(
        (np.ones(enough.sum(), np.float32), where), shape=reciprocal_BN.shape
    )
    return (reciprocal_BN + trusted_BN @ half_NN).tocsr()


def _cosines(vectors_ND: NDArray[np.float32], pairs_NN: sparse.csr_array) -> NDArray[np.float32]:
    """Return the cosine of each pair in a sparse matrix, in the order of its data."""
    first = np.repeat(np.arange(len(vectors_ND)), np.diff(pairs_NN.indptr))
    return pair_cosines(vectors_ND, vectors_ND, first, pairs_NN.indices)


def _shared(query_1N: sparse.csr_array, holders_GN: sparse.csc_array) -> NDArray[np.float64]:
    """Return the sum of the minima of the query's encoding and each reference's, G."""
    holders_GM = holders_GN[:, query_1N.indices]
    weight = np.repeat(query_1N.data, np.diff(holders_GM.indptr))
    minimum = np.minimum(holders_GM.data, weight)
    total_G = np.bincount(holders_GM.indices, minimum, minlength=holders_GN.shape[0])
    return total_G.astype(np.float64, copy=False)  # bincount gives integers if nothing is shared
