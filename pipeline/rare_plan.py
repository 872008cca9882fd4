"""How many images to make of which, so that rare labels have enough.

Axes: N labelled images, L labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RarePlan:
    """copies_N: images to make of each image. before_L, after_L: images that carry each label.

    out_of_reach: labels of fewer than `least` images, none of which is an original.
    """

    least: int
    copies_N: Counts
    before_L: Counts
    after_L: Counts
    out_of_reach: tuple[int, ...]

    @property
    def made(self) -> int:
        return int(self.copies_N.sum())


def plan_rare(
    carries_NL: NDArray[np.bool_], original_N: NDArray[np.bool_], *, least: int, seed: int
) -> RarePlan:
    """Copies of originals until every label that can has `least` images.

    An image counts for all of its labels, so copying one for a rare label adds to common ones too.
    Greedy: it is always the label with the fewest images that gets the next one (of equal ones the
    first), made from the image that was used least; of those the one with the most labels that are
    still short, then with the fewest that are not, then by lot from the seed.
    """
    carries = carries_NL.astype(np.int64)
    counts_L = carries.sum(axis=0)
    sources = [np.flatnonzero(has_N & original_N) for has_N in carries_NL.T]
    possible_L = np.array([len(own) > 0 for own in sources], bool)
    copies_N, lot_N = (
        np.zeros(len(carries), np.int64),
        np.random.default_rng(seed).permutation(len(carries)),
    )
    while (short_L := possible_L & (counts_L < least)).any():
        rarest = int(np.argmin(np.where(short_L, counts_L, least)))
        own = sources[rarest]
        wanted, others = carries[own] @ short_L, carries[own] @ ~short_L
        chosen = own[np.lexsort((lot_N[own], others, -wanted, copies_N[own]))[0]]
        copies_N[chosen] += 1
        counts_L = counts_L + carries[chosen]
    return RarePlan(
        least=least,
        copies_N=copies_N,
        before_L=carries.sum(axis=0),
        after_L=counts_L,
        out_of_reach=tuple(np.flatnonzero(counts_L < least).tolist()),
    )
