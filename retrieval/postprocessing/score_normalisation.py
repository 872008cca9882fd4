"""Similarities in units of how alike non-matches are. Axes: N images, Q queries, B queries of one
block, G references, K nearest of the cohort.
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
    """Of each image's similarities to the most similar of the cohort: mean and deviation."""

    mean_N: NDArray[np.float32]
    deviation_N: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class NormalisedSimilarities(CosineSimilarities):
    """Cosines, each side's cohort mean taken off and divided by its deviation, averaged.

    s' = ((s - mean_q) / deviation_q + (s - mean_g) / deviation_g) / 2: s-norm (Kenny 2010),
    adaptive because each image has its own most similar of the cohort (Karam et al. 2011; Matejka
    et al. 2017).
    """

    of_queries: CohortStatistics
    of_references: CohortStatistics

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
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
    """Return similarities of queries to references, normalised by a cohort such as training images.

    nearest: how many of the cohort speak for an image; all but one where it has fewer.
    Raises UserError for a cohort of fewer than three.
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
    """Return mean and deviation of each image's `nearest` highest cosines to the cohort.

    An image that is in the cohort itself does not count for itself, so at most all but one do.
    """
    if len(cohort.ids) < 3:
        raise UserError(
            f"score normalisation: a cohort of {len(cohort.ids)} images; it needs at least three"
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
    """Half of (s - mean) / deviation, as what to multiply s by and what to take off."""
    scale_N = 0.5 / np.maximum(of.deviation_N, np.finfo(np.float32).eps)
    return scale_N.astype(np.float32), (scale_N * of.mean_N).astype(np.float32)
