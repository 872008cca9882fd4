"""Images that are equal, or look alike to a perceptual hash, without an embedder.

Equal is sure; alike is a hint: of cells that fill their picture many look alike and are distinct.
Axes: N images, T turns, C channels, B bytes of a hash.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from index.hashes import HashIndex

EQUAL, ALIKE = "equal", "alike"
LOOK_ALIKE_COLUMNS = ("kind", "id", "other", "bits")
ALIKE_BITS = 4  # of the 64 of a channel: what re-encoding and changed brightness cost
ALIKE_EACH = 5


def equal_images(ids: Sequence[str], digests: Sequence[str]) -> pd.DataFrame:
    """Each image beside the first of the ids whose pixels have the same digest."""
    first: dict[str, str] = {}
    pairs = [
        (EQUAL, image_id, first[digest], 0)
        for image_id, digest in zip(ids, digests, strict=True)
        if first.setdefault(digest, image_id) != image_id
    ]
    return pd.DataFrame(pairs, columns=list(LOOK_ALIKE_COLUMNS))


def alike_images(ids: Sequence[str], turned_NTCB: NDArray[np.uint8]) -> pd.DataFrame:
    """Pairs of images whose hashes differ by ALIKE_BITS at most in every channel, in some turn.

    bits: of the channel that differs most. The least bits come first, then the order of ids; of
    each image its ALIKE_EACH nearest are looked at.
    """
    place = {image_id: n for n, image_id in enumerate(ids)}
    index = HashIndex(ids=tuple(ids), upright_MCB=turned_NTCB[:, 0])
    limits_C = np.full(turned_NTCB.shape[2], ALIKE_BITS, np.int64)
    found_NK = index.nearest(ids, turned_NTCB, ALIKE_EACH, limits_C=limits_C)
    pairs = {
        (max(n, place[other]), min(n, place[other]))
        for n, row in enumerate(found_NK)
        for other in row
        if other
    }
    rows = [
        (_bits(turned_NTCB[later], turned_NTCB[earlier]), later, earlier)
        for later, earlier in sorted(pairs)
    ]
    table = [(ALIKE, ids[later], ids[earlier], bits) for bits, later, earlier in sorted(rows)]
    return pd.DataFrame(table, columns=list(LOOK_ALIKE_COLUMNS))


def _bits(one_TCB: NDArray[np.uint8], other_TCB: NDArray[np.uint8]) -> int:
    """Either one turned over the other upright: a hash of gradients tells these apart."""
    xor_2TCB = np.stack([one_TCB ^ other_TCB[0], other_TCB ^ one_TCB[0]])
    bits_2TC = np.bitwise_count(xor_2TCB).sum(axis=-1, dtype=np.int64)
    return int(bits_2TC.max(axis=-1).min())
