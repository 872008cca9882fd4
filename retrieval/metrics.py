"""How well embeddings find their kind. Axes: Q queries, G gallery, D dimensions, L labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUERIES_AT_ONCE = 1024


def top1(
    queries_QD: NDArray[np.float32],
    query_ids: Sequence[str],
    query_targets: NDArray[Any],
    gallery_GD: NDArray[np.float32],
    gallery_ids: Sequence[str],
    gallery_targets: NDArray[Any],
) -> float:
    """Mean agreement of each query with its most similar gallery image.

    Of classes (targets int N) that is the share of queries whose nearest has their class; of label
    sets (targets 0/1, N x L) the mean Jaccard similarity of the two sets, which is the same where
    every set has one label. A query never finds itself, by id; of equal similarities the first in
    the gallery counts.
    """
    place = {image_id: n for n, image_id in enumerate(gallery_ids)}
    agreement = 0.0
    for start in range(0, len(query_ids), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        similarity_BG = queries_QD[block] @ gallery_GD.T
        for row, image_id in enumerate(query_ids[block]):
            if image_id in place:
                similarity_BG[row, place[image_id]] = -np.inf
        nearest_B = similarity_BG.argmax(axis=1)
        agreement += float(_agreement(query_targets[block], gallery_targets[nearest_B]).sum())
    return agreement / len(query_ids) if len(query_ids) else 0.0


def _agreement(targets: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    if targets.ndim == 1:
        return np.asarray(targets == others, np.float64)
    shared = np.minimum(targets, others).sum(axis=1, dtype=np.float64)
    return np.asarray(shared / np.maximum(np.maximum(targets, others).sum(axis=1), 1))
