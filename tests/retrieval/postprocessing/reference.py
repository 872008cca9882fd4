"""Compute the steps after the network naively: dense, slow, and as the papers write them."""

import numpy as np
from numpy.typing import NDArray


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def s_norm(
    query: NDArray[np.float32],
    reference: NDArray[np.float32],
    non_matches_of_query: NDArray[np.float32],
    non_matches_of_reference: NDArray[np.float32],
    nearest: int,
) -> float:
    """Return one normalised similarity; each side's cohort excludes the image itself."""
    cosine, sides = float(query @ reference), []
    for image, non_matches in (
        (query, non_matches_of_query),
        (reference, non_matches_of_reference),
    ):
        highest = sorted((float(image @ other) for other in non_matches), reverse=True)[:nearest]
        mean = sum(highest) / len(highest)
        deviation = (sum((value - mean) ** 2 for value in highest) / len(highest)) ** 0.5
        sides.append((cosine - mean) / deviation)
    return sum(sides) / 2


def k_reciprocal_distance(
    vectors: NDArray[np.float32], k1: int, k2: int, weight: float
) -> NDArray[np.float64]:
    """Return all distances, N x N; comments give the equation numbers of Zhong et al. 2017."""
    count = len(vectors)
    distance = 1 - vectors.astype(float) @ vectors.T.astype(float)
    np.fill_diagonal(distance, -1)  # an image comes before its exact copies
    ranking = distance.argsort(axis=1, kind="stable")
    np.fill_diagonal(distance, 0)

    def near(p: int, k: int) -> set[int]:  # 2, the image itself beside its k nearest
        return set(ranking[p, : k + 1].tolist())

    def reciprocal(p: int, k: int) -> set[int]:  # 3
        return {g for g in near(p, k) if p in near(g, k)}

    def expanded(p: int) -> set[int]:  # 4
        members = reciprocal(p, k1)
        for q in reciprocal(p, k1):
            theirs = reciprocal(q, k1 // 2)
            if 3 * len(reciprocal(p, k1) & theirs) >= 2 * len(theirs):
                members = members | theirs
        return members

    encoding = np.zeros((count, count))
    for p in range(count):
        for g in expanded(p):
            encoding[p, g] = np.exp(-distance[p, g])  # 7
    encoding = np.array([encoding[ranking[p, :k2]].mean(axis=0) for p in range(count)])  # 11
    final = np.zeros((count, count))
    for p in range(count):
        for g in range(count):
            minimum = np.minimum(encoding[p], encoding[g]).sum()
            maximum = np.maximum(encoding[p], encoding[g]).sum()
            final[p, g] = (1 - weight) * (1 - minimum / maximum) + weight * distance[p, g]  # 10, 12
    return final
