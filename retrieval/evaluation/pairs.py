"""Pairs of images of the same and of different classes, drawn evenly.

Axes: N images, sorted so that a class stands together; P pairs.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.artifacts import EmbeddingSet

PAIRS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Each pair once, none of an image with itself. ids_P2: object array of str; same_P: class."""

    ids_P2: NDArray[np.object_]
    same_P: NDArray[np.bool_]


def draw_pairs(
    ids: Sequence[str], classes: Mapping[str, Hashable], *, most_of_each: int, seed: int
) -> Pairs:
    """All pairs of the same class, or `most_of_each` where there are more; as many of different.

    Ids without a class are left out. What is drawn follows from (seed, ids, classes), not from the
    order of ids.
    """
    known = sorted(image_id for image_id in ids if classes.get(image_id) is not None)
    number = {kind: n for n, kind in enumerate(dict.fromkeys(classes[i] for i in known))}
    code_N = np.array([number[classes[image_id]] for image_id in known], np.int64)
    order = np.argsort(code_N, kind="stable")
    place_N = np.arange(len(known))
    end_N = np.searchsorted(code_N[order], code_N[order], side="right")
    rng = np.random.default_rng(seed)
    # The partners that follow an image are first those of its own class, then all the others.
    same = _drawn(place_N + 1, end_N - place_N - 1, most_of_each, rng)
    different = _drawn(end_N, len(known) - end_N, most_of_each, rng)
    sorted_ids = np.array(known, object)[order]
    return Pairs(
        ids_P2=sorted_ids[np.concatenate([same, different])],
        same_P=np.arange(len(same) + len(different)) < len(same),
    )


def cosines_of(embeddings: EmbeddingSet, pairs: Pairs) -> NDArray[np.float32]:
    """float32 P. Raises KeyError for an id without an embedding."""
    place = {image_id: n for n, image_id in enumerate(embeddings.ids)}
    places_P2 = np.array([[place[a], place[b]] for a, b in pairs.ids_P2], np.int64).reshape(-1, 2)
    cosine_P = np.empty(len(places_P2), np.float32)
    for start in range(0, len(places_P2), PAIRS_AT_ONCE):
        block = slice(start, start + PAIRS_AT_ONCE)
        first, second = embeddings.vectors_ND[places_P2[block].T]
        cosine_P[block] = (first * second).sum(axis=1)
    return cosine_P


def _drawn(
    first_N: NDArray[np.int64], count_N: NDArray[np.int64], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """P x 2: image n is paired with one of the `count_N[n]` that stand from `first_N[n]` on."""
    ends_N = np.cumsum(count_N)
    total = int(ends_N[-1]) if len(ends_N) else 0
    numbers = np.arange(total) if total <= most else rng.choice(total, most, replace=False)
    one = np.searchsorted(ends_N, numbers, side="right")
    other = first_N[one] + numbers - (ends_N[one] - count_N[one])
    return np.stack([one, other], axis=1)
