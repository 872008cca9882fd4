"""Express similarities relative to the similarities of non-matches.

Axes: N images, Q queries, B queries of one block, G references, K nearest images of the cohort.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet
from retrieval.postprocessing.similarity import CosineSimilarities

COHORT_NEAREST = 200


@dataclass(frozen=True, kw_only=True)
class CohortStatistics:
    """Store the mean and deviation of each image's similarities to its nearest cohort images."""

    mean_N: NDArray[np.float32]
    deviation_N: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class NormalisedSimilarities(CosineSimilarities):
    """Compute cosines that are normalised by the cohort statistics of both sides (s-norm).

    The normalised similarity is ((s - mean_q) / deviation_q + (s - mean_g) / deviation_g) / 2.

    Source: s-norm, Kenny 2010; its adaptive form, in which each image uses its own nearest images
    of the cohort, Karam et al. 2011 and Matejka et al. 2017.

    Attributes:
        queries: Embeddings of the queries.
        references: Embeddings of the references.
        of_queries: Cohort statistics of the queries.
        of_references: Cohort statistics of the references.
    """

    of_queries: CohortStatistics
    of_references: CohortStatistics

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield the positions of a block of queries with their similarities, B x G."""
        scale_Q, shift_Q = _line(self.of_queries)
        scale_G, shift_G = _line(self.of_references)
        for rows, similarity_BG in super().blocks():
            similarity_BG *= scale_Q[rows, None] + scale_G
            similarity_BG -= shift_Q[rows, None] + shift_G
            yield rows, similarity_BG


def normalised_similarities(
    queries: EmbeddingSet,
    references: EmbeddingSet,
    cohort: EmbeddingSet,
    *,
    nearest: int = COHORT_NEAREST,
) -> NormalisedSimilarities:
    """Return similarities of queries to references, normalised by a cohort.

    Args:
        queries: Embeddings of the queries.
        references: Embeddings of the references.
        cohort: Embeddings of other images, such as the training images.
        nearest: Number of cohort images that are used for each image; if the cohort is smaller, all
            but one are used.

    Raises:
        UserError: The cohort has fewer than three images.
    """
    return NormalisedSimilarities(
        queries=queries,
        references=references,
        of_queries=cohort_statistics(queries, cohort, nearest=nearest),
        of_references=cohort_statistics(references, cohort, nearest=nearest),
    )


def cohort_statistics(
    images: EmbeddingSet, cohort: EmbeddingSet, *, nearest: int = COHORT_NEAREST
) -> CohortStatistics:
    """Return the mean and deviation of each image's `nearest` highest cosines to the cohort.

    An image that is part of the cohort is not compared with itself, so at most all but one image of
    the cohort are used.

    Raises:
        UserError: The cohort has fewer than three images.
    """
    if len(cohort.ids) < 3:
        raise UserError(
            "score normalisation needs a cohort of at least three images "
            f"(got {len(cohort.ids)}); choose a larger one"
        )
    nearest = min(nearest, len(cohort.ids) - 1)
    mean_N = np.empty(len(images.ids), np.float32)
    deviation_N = np.empty(len(images.ids), np.float32)
    for rows, similarity_BC in CosineSimilarities(queries=images, references=cohort).blocks():
        nearest_BK = np.partition(similarity_BC, -nearest, axis=1)[:, -nearest:]
        mean_N[rows] = nearest_BK.mean(axis=1)
        deviation_N[rows] = nearest_BK.std(axis=1)
    return CohortStatistics(mean_N=mean_N, deviation_N=deviation_N)


def _line(of: CohortStatistics) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return half of (s - mean) / deviation as a factor of s and an offset to subtract."""
    scale_N = 0.5 / np.maximum(of.deviation_N, np.finfo(np.float32).eps)
    return scale_N.astype(np.float32), (scale_N * of.mean_N).astype(np.float32)
