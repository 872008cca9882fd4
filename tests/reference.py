"""Naive twins of vectorised algorithms: slow, short and plainly right."""

import numpy as np
from numpy.typing import NDArray


def neighbours_of(
    query: NDArray[np.float32], query_id: str, ids: list[str], vectors: NDArray[np.float32], k: int
) -> list[str]:
    """Ids by similarity down, then by id, without the query's own."""
    scored = [
        (-float(np.float32(query @ vector)), image_id)
        for image_id, vector in zip(ids, vectors, strict=True)
        if image_id != query_id
    ]
    return [image_id for _, image_id in sorted(scored)[:k]]


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson over all channels, each without its own mean. C x H x W."""
    top = left = right = 0.0
    for plane, other in zip(a.astype(float), b.astype(float), strict=True):
        for x, y in zip(
            (plane - plane.mean()).ravel(), (other - other.mean()).ravel(), strict=True
        ):
            top, left, right = top + x * y, left + x * x, right + y * y
    return top / (left * right) ** 0.5


def precision_at(threshold: float, share: float, hits: list[float], claims: list[float],
                 false_claims: list[float]) -> float:  # fmt: skip
    """Expected precision at a share of true cases; hits and claims are of the same trials."""
    right = sum(h >= threshold for h in hits) / len(claims)
    made = sum(c >= threshold for c in claims) / len(claims)
    wrong = (sum(f >= threshold for f in false_claims) + 1) / (len(false_claims) + 1)
    return share * right / (share * made + (1 - share) * wrong)


def resampled_macro_f1(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], groups: list[str],
                       rng: np.random.Generator) -> float:  # fmt: skip
    """Macro F1 of one resample of whole groups: mean of the classes it holds, as many as all."""
    names = sorted(set(groups))
    drawn = [names[k] for k in rng.integers(len(names), size=len(names))]
    rows = [row for name in drawn for row, group in enumerate(groups) if group == name]
    scores = []
    for c in range(truth.shape[1]):
        true, given = truth[rows, c], predicted[rows, c]
        hits = sum(t and p for t, p in zip(true, given, strict=True))
        if sum(true):
            scores.append(2 * hits / (sum(true) + sum(given)))
    held = sum(1 for c in range(truth.shape[1]) if sum(truth[:, c]))
    return sum(scores) / max(len(scores), 1) * held / truth.shape[1]
