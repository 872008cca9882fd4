"""How well embeddings find their kind. Axes: Q queries, G gallery, D dimensions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

QUERIES_AT_ONCE = 1024


def top1(
    queries_QD: NDArray[np.float32],
    query_ids: Sequence[str],
    query_labels: Sequence[int],
    gallery_GD: NDArray[np.float32],
    gallery_ids: Sequence[str],
    gallery_labels: Sequence[int],
) -> float:
    """Share of queries whose most similar gallery image has their label.

    A query never finds itself, by id; of equal similarities the first in the gallery counts.
    """
    place = {image_id: n for n, image_id in enumerate(gallery_ids)}
    labels_G = np.asarray(gallery_labels)
    right = 0
    for start in range(0, len(query_ids), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        similarity_BG = queries_QD[block] @ gallery_GD.T
        for row, image_id in enumerate(query_ids[block]):
            if image_id in place:
                similarity_BG[row, place[image_id]] = -np.inf
        nearest_B = similarity_BG.argmax(axis=1)
        right += int((labels_G[nearest_B] == np.asarray(query_labels[block])).sum())
    return right / len(query_ids) if len(query_ids) else 0.0
