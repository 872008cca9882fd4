"""Registration: how two images lie over one another, and whether they show the same.

Keypoints and small blocks propose alignments (`voting`), a refinement fits them to the pixels, and
the number of blocks that agree (`agreement`) becomes a score (`false_alarms`).

Maps are homographies (3 x 3) from the reference to the query, with sides of 1 and the origin in the
upper left corner. Axes: C and E channels of the query and of the reference, H rows, W columns, B
blocks, L levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import lgamma, log

import numpy as np
import scipy  # its parts are loaded at their first use, which many lookups do without
from numpy.typing import NDArray

from index.copies.agreement import (
    NOTHING_SEEN,
    Agreement,
    Map,
    Pictures,
    agreement,
    refined,
    side_of,
)
from index.copies.false_alarms import ASSUMED_LAW, NonMatches
from index.copies.sketches import Sketches, sketch
from index.copies.voting import Alignment, propose
from index.settings import Look, RegistrationSettings

FloatArray = NDArray[np.float32]

BLANK = -1.0  # the score of an image that shows nothing
# Keypoints that voted for an alignment lie in blocks that agree because of that.
EXPLAINED_BLOCKS = 10
# Fewer comparable blocks beyond those say too little, however well they agree.
FEWEST_BLOCKS = 12
# Alignments with such a score are refined: others are certain already, or will not become so.
REFINED_FROM, REFINED_TO = 0.5, 30.0
# What scores less at the smallest size alone is not compared at the others. Four fifths of the
# alignments of non-matches do, and one of 565 edited copies on which this was chosen.
HOPELESS_BELOW = 0.01
SHOWN_FROM = 0.6  # the correlation from which a block is reported to agree
# Raise it with every change of what an alignment or its score is: kept registrations of other
# versions are not used.
REGISTRATION_VERSION = 5


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The best alignment of a query with a reference.

    Attributes:
        score: -log10 of the probability that a non-match agrees as well; 0 if nothing agrees, and
            BLANK if one of the images shows nothing.
        agreeing: The number of blocks that agree.
        comparable: The number of blocks that could agree.
        map_33: The map from the reference to the query.
        negative: Whether the query is a negative of the reference.
        channels_E: The channel of the query that matches each channel of the reference; -1 for
            none.
    """

    score: float
    agreeing: int = 0
    comparable: int = 0
    map_33: Map = field(default_factory=lambda: np.eye(3))
    negative: bool = False
    channels_E: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Count:
    blocks_L: tuple[tuple[int, int], ...]
    channels_E: tuple[int, ...]
    penalty: float = 0.0


def register(
    query: NDArray[np.uint8],
    references: Sequence[NDArray[np.uint8]],
    settings: RegistrationSettings = RegistrationSettings(),
    law: NonMatches = ASSUMED_LAW,
) -> list[Registration]:
    """Return how a query lies over each of several references.

    Args:
        query: An image, C x H x W.
        references: Images, C x H x W.
        settings: The settings of the comparison.
        law: How non-matches agree.
    """
    if not references:
        return []
    sketched = Sketches(bytes_NB=sketch(query)[None])
    others = Sketches(bytes_NB=np.stack([sketch(reference) for reference in references]))
    pictures = Pictures(query, settings)
    return [
        best_of(pictures, Pictures(reference, settings), proposed, settings, law)
        if shown
        else Registration(score=BLANK)
        for reference, proposed, shown in zip(
            references, propose(sketched, others), sketched.show & others.show, strict=True
        )
    ]


def best_of(
    query: Pictures,
    reference: Pictures,
    proposed: Sequence[Alignment],
    settings: RegistrationSettings,
    law: NonMatches,
) -> Registration:
    """Return the best of the proposed alignments of a query with a reference.

    Args:
        query: The query.
        reference: The reference.
        proposed: The alignments.
        settings: The settings of the comparison.
        law: How non-matches agree.
    """
    found = [_judged(query, reference, one, settings, law) for one in proposed]
    return max(found, key=lambda one: one.score, default=Registration(score=0.0))


def blocks_at(
    query: Pictures,
    reference: Pictures,
    map_33: Map,
    looks: Sequence[Look],
    law: NonMatches,
) -> list[Agreement]:
    """Return the blocks of two images at an alignment, for each size; see `agreement`."""
    sides = [side_of(query, reference, map_33, look) for look in looks]
    return [
        agreement(query.at(side), reference.at(side), map_33, look, pattern_SS=law.pattern_of(side))
        for side, look in zip(sides, looks, strict=True)
    ]


def agreeing_blocks(blocks: Agreement, found: Registration, law: NonMatches) -> NDArray[np.bool_]:
    """Return which blocks agree in at least one channel at a registration."""
    sign, level = (-1 if found.negative else 1), _shown_level(law)
    pairs = [(c, e) for e, c in enumerate(found.channels_E) if c >= 0]
    agree = (sign * blocks.correlations_BCE >= law.levels[level].agrees_from) & (
        blocks.comparable_BCE
    )
    return np.asarray(np.any([agree[:, c, e] for c, e in pairs], axis=0), bool)


def correlations_of(
    query: Pictures,
    reference: Pictures,
    proposed: Sequence[Alignment],
    settings: RegistrationSettings,
    law: NonMatches,
) -> list[FloatArray]:
    """Return the correlations of the comparable blocks at the best of the proposed alignments.

    For each size, they are sorted, and those that the alignment explains are left out.
    """
    judged = [_judged(query, reference, one, settings, law) for one in proposed]
    best = max(range(len(proposed)), key=lambda n: judged[n].score)
    sign, left_out = (-1 if proposed[best].negative else 1), _explained(proposed[best])
    found = []
    for blocks in blocks_at(query, reference, judged[best].map_33, settings.looks, law):
        same = np.diagonal(sign * blocks.correlations_BCE, axis1=1, axis2=2)
        shown = np.sort(same[np.diagonal(blocks.comparable_BCE, axis1=1, axis2=2)])
        found.append(shown[: max(0, len(shown) - left_out)])
    return found


def _judged(
    query: Pictures,
    reference: Pictures,
    proposed: Alignment,
    settings: RegistrationSettings,
    law: NonMatches,
) -> Registration:
    start = _scored(query, reference, proposed.map_33, proposed, settings, law)
    if not REFINED_FROM < start.score < REFINED_TO:
        return start
    look = settings.looks[0]
    side = side_of(query, reference, start.map_33, look)
    better = refined(
        query.at(side), reference.at(side), start.map_33, look, negative=proposed.negative
    )
    return max(
        start,
        _scored(query, reference, better, proposed, settings, law),
        key=lambda one: one.score,
    )


def _scored(
    query: Pictures,
    reference: Pictures,
    map_33: Map,
    proposed: Alignment,
    settings: RegistrationSettings,
    law: NonMatches,
) -> Registration:
    found = blocks_at(query, reference, map_33, settings.looks[-1:], law)
    if _is_hopeless(found[0], proposed, law):
        return Registration(score=0.0, map_33=map_33)
    found = blocks_at(query, reference, map_33, settings.looks[:-1], law) + found
    if all(one is NOTHING_SEEN for one in found):
        return Registration(score=0.0)
    explained = _explained(proposed)
    best = max(
        _counts(found, law, negative=proposed.negative),
        key=lambda count: _score_of(count, explained, law),
    )
    agreeing, comparable = best.blocks_L[_shown_level(law)]
    return Registration(
        score=max(0.0, _score_of(best, explained, law)),
        agreeing=agreeing,
        comparable=comparable,
        map_33=map_33,
        negative=proposed.negative,
        channels_E=best.channels_E,
    )


def _is_hopeless(blocks: Agreement, proposed: Alignment, law: NonMatches) -> bool:
    """Return whether there are enough blocks at the smallest size, and hardly any of them agree.

    This rejects most alignments of non-matches for a quarter of the pixels. Of a small crop the
    smallest size shows too little, so it is not rejected.
    """
    alone = _of_smallest(law)
    counts = _counts([blocks], alone, negative=proposed.negative)
    explained = _explained(proposed)
    if min(count.blocks_L[0][1] for count in counts) - explained < FEWEST_BLOCKS:
        return False
    return max(_score_of(count, explained, alone) for count in counts) < HOPELESS_BELOW


@cache
def _of_smallest(law: NonMatches) -> NonMatches:
    """Return the law of the smallest size alone, for a pair that could be aligned."""
    smallest = max(level.look for level in law.levels)
    levels = tuple(replace(one, look=0) for one in law.levels if one.look == smallest)
    return replace(law, levels=levels, aligned=1.0)


def _score_of(count: _Count, explained: int, law: NonMatches) -> float:
    """Return the score of some counts, without the blocks that keypoints explain."""
    counts = [
        (max(0, agreeing - explained), comparable - explained)
        if comparable - explained >= FEWEST_BLOCKS
        else (0, 0)
        for agreeing, comparable in count.blocks_L
    ]
    return law.score(counts) - count.penalty


def _explained(proposed: Alignment) -> int:
    return EXPLAINED_BLOCKS if proposed.votes else 0


def _shown_level(law: NonMatches) -> int:
    """Return the level whose agreeing blocks are reported, at the largest size."""
    first = [n for n, level in enumerate(law.levels) if level.look == 0]
    return min(first, key=lambda n: abs(law.levels[n].agrees_from - SHOWN_FROM))


def _counts(found: Sequence[Agreement], law: NonMatches, *, negative: bool) -> list[_Count]:
    """Return how many blocks agree, with channels in their order and in the best other order."""
    sign = -1 if negative else 1
    channels = max(one.comparable_BCE.shape[1] for one in found)
    signed = [np.where(one.comparable_BCE, sign * one.correlations_BCE, -2) for one in found]
    agree_LCE = [(signed[one.look] >= one.agrees_from).sum(axis=0) for one in law.levels]
    comparable_LCE = [found[one.look].comparable_BCE.sum(axis=0) for one in law.levels]
    orders = [(np.arange(channels), 0.0)]
    if channels > 1:
        whole_CE = np.sum([agree_CE for agree_CE in agree_LCE if len(agree_CE) == channels], axis=0)
        # Each order of the channels is a test of its own.
        orders.append((np.argsort(_best_order(whole_CE)), lgamma(channels + 1) / log(10)))
    return [
        _Count(
            blocks_L=tuple(
                (_along(agree_CE, of_query_E), _along(comparable_CE, of_query_E))
                for agree_CE, comparable_CE in zip(agree_LCE, comparable_LCE, strict=True)
            ),
            channels_E=tuple(of_query_E.tolist()),
            penalty=penalty,
        )
        for of_query_E, penalty in orders
    ]


def _best_order(agree_CE: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the reference's channel for each channel of the query, so that most blocks agree."""
    best_C = agree_CE.argmax(axis=1)
    if len(set(best_C.tolist())) < len(best_C):  # otherwise no order can have more
        best_C = scipy.optimize.linear_sum_assignment(-agree_CE)[1]  # loading it takes 0.4 s
    return np.asarray(best_C, np.intp)


def _along(count_CE: NDArray[np.int64], of_query_E: NDArray[np.intp]) -> int:
    """Return the sum over channels that match; 0 if the overlap is too small for blocks."""
    if len(count_CE) != len(of_query_E):
        return 0
    return int(count_CE[of_query_E, np.arange(len(of_query_E))].sum())
