"""Voting: which alignments of two images their keypoints and small blocks propose.

A pair of keypoints that look alike proposes an alignment: SIFT gives each a place, a size and a
direction, so one pair fixes rotation, scale and shift, and its descriptors say whether the query is
mirrored or a negative. An alignment has the votes of all pairs that agree with it. Images with few
keypoints are aligned as wholes in their eight flips and rotations by their small blocks.

Maps lead from the reference to the query, with sides of 1 and the origin in the upper left corner;
they are affine while votes are counted (2 x 3), and then homographies (3 x 3). Axes: N references,
K and L keypoints, M pairs of keypoints, G orders of a descriptor, B blocks, P pixels of a block.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.synthetic.edits import rotated
from index.copies.agreement import Map, common, enlargement
from index.copies.keypoints import MIRRORED_G, NEGATIVE_G, ORDERS_GD
from index.copies.sketches import FOLDED_SCALE, SCALE, SMALL_BLOCK_PX, SMALL_PX, Sketches

FloatArray = NDArray[np.float32]

PAIRS = 40  # pairs of keypoints that vote, those that look most alike
ONE_SIDED = 0.05  # taken from the similarity of a pair that is not mutually nearest
LEAST_SIMILARITY = 0.8
LEAST_VOTES = 4
MOST_ALIGNMENTS = 2  # alignments by votes that are verified for each pair of images
NEAR = 0.04  # distance of places that agree, as a share of the side
LARGEST_RATIO, LARGEST_ANGLE = 1.8, 0.6  # of scales, and of rotations in radians, that agree
LEAST_SCALE, MOST_SCALE = 0.2, 5.0
# The share of the query or of the reference, whichever is larger, that both must show. Neighbouring
# crops of one field share less, and are different pictures.
LEAST_OVERLAP = 0.4
OVERLAP_SIDE = 64  # pixels of the grid on which the overlap is measured
FOR_AFFINE = 6  # votes from which an affine map is fitted
SMALL_AGREES = 0.6  # correlation of small blocks that agree
LEAST_SMALL, LEAST_SHARE = 8, 0.4  # small blocks that must agree, and their share of all


# Image coordinates (x to the right, y down) about the middle; see `rotated`.
QUARTER = np.array([[0.0, 1.0], [-1.0, 0.0]])
MIRROR = np.array([[-1.0, 0.0], [0.0, 1.0]])


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """A proposed alignment of a query with a reference.

    Attributes:
        map_33: The map from the reference to the query.
        negative: Whether the query is a negative of the reference.
        votes: The number of pairs of keypoints that agree, or 0 if blocks proposed it.
    """

    map_33: NDArray[np.float64]
    negative: bool
    votes: int


def propose(
    query: Sketches, references: Sketches, matched_N: NDArray[np.bool_] | None = None
) -> list[list[Alignment]]:
    """Return the alignments of a query with each reference that are worth verifying, best first.

    Args:
        query: One sketch.
        references: The sketches of the candidates.
        matched_N: Whether the keypoints of each reference are matched with those of the query. By
            default all are.
    """
    found = _by_blocks(query, references)
    places = np.arange(len(references)) if matched_N is None else np.flatnonzero(matched_N)
    if len(places):
        for n, some in zip(places, _by_keypoints(query, references.only(places)), strict=True):
            found[n] += some
    return [[one for one in some if shared(one.map_33) >= LEAST_OVERLAP] for some in found]


def shared(map_33: Map) -> float:
    """Return the share of the query or of the reference that both show, whichever is larger."""
    of_reference = float(common(map_33, OVERLAP_SIDE).mean())
    return min(1.0, of_reference * max(1.0, enlargement(map_33)))


def whole(element: int) -> FloatArray:
    """Return the map of a reference to a query that covers it after a flip or rotation, 2 x 3.

    `rotated` describes the eight elements.
    """
    linear = np.linalg.matrix_power(QUARTER, element % 4)
    linear = np.linalg.inv(MIRROR @ linear if element >= 4 else linear)
    middle = np.full(2, 0.5)
    return np.column_stack([linear, middle - linear @ middle]).astype(np.float32)


def _by_blocks(query: Sketches, references: Sketches) -> list[list[Alignment]]:
    """Return the best of the eight flips and rotations, where enough small blocks agree."""
    side, block = SMALL_PX // SMALL_BLOCK_PX, SMALL_BLOCK_PX
    flat = query.blocks[0].reshape(side, side, block, block).transpose(0, 2, 1, 3)
    picture = flat.reshape(1, SMALL_PX, SMALL_PX)
    turned = np.stack([rotated(picture, element)[0] for element in range(8)])
    split = turned.reshape(8, side, block, side, block).transpose(1, 3, 0, 2, 4)
    blocks_BTP = np.ascontiguousarray(split.reshape(side * side, 8, block * block))
    blocks_BPN = np.ascontiguousarray(references.blocks.transpose(1, 2, 0))
    correlations_BTN = blocks_BTP @ blocks_BPN
    shown_BTN = (
        np.asarray(blocks_BTP.any(axis=2))[:, :, None] & np.asarray(blocks_BPN.any(axis=1))[:, None]
    )
    agree_2TN = np.stack(
        [(correlations_BTN > SMALL_AGREES).sum(0), (correlations_BTN < -SMALL_AGREES).sum(0)]
    )
    enough_2TN = (agree_2TN >= LEAST_SMALL) & (agree_2TN >= LEAST_SHARE * shown_BTN.sum(axis=0))
    agree_AN = np.asarray(np.where(enough_2TN, agree_2TN, 0)).reshape(16, -1)
    best_N = agree_AN.argmax(axis=0)
    return [
        [Alignment(map_33=_homography(whole(int(best) % 8)), negative=bool(best >= 8), votes=0)]
        if agree_AN[best, n]
        else []
        for n, best in enumerate(best_N)
    ]


def _by_keypoints(query: Sketches, references: Sketches) -> list[list[Alignment]]:
    """Return the alignments with the most votes of pairs of keypoints."""
    of_query_NM, of_reference_NM = _nearest(query, references)
    numbers_N1 = np.arange(len(references))[:, None]
    one, other = query.rows[0], references.rows
    raw_NMD = np.asarray(other["descriptors"][numbers_N1, of_reference_NM], np.float32)
    orders_GKD = np.asarray(one["descriptors"], np.float32)[:, ORDERS_GD].transpose(1, 0, 2)
    similarity_GNM = np.einsum("gnmd,nmd->gnm", orders_GKD[:, of_query_NM], raw_NMD) / SCALE**2
    order_NM = similarity_GNM.argmax(axis=0)
    sizes = one["sizes"][of_query_NM], other["sizes"][numbers_N1, of_reference_NM]
    votes = (similarity_GNM.max(axis=0) >= LEAST_SIMILARITY) & (sizes[0] > 0) & (sizes[1] > 0)
    maps = _maps(one, other, of_query_NM, of_reference_NM, order_NM)
    places = one["places"][of_query_NM], other["places"][numbers_N1, of_reference_NM]
    agree_NMM = _agreements(*maps, *places, order_NM, votes)
    counts_NM = agree_NMM.sum(axis=2)
    return [
        _alignments(
            agree_NMM[n], counts_NM[n], maps[0][n], maps[1][n], places[0][n], places[1][n],
            order_NM[n],
        )
        if counts_NM[n].max() >= LEAST_VOTES
        else []
        for n in range(len(references))
    ]  # fmt: skip


def _nearest(query: Sketches, references: Sketches) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the keypoints of the pairs that look most alike, each N x M."""
    count, keypoints = len(references), references.folded.shape[1]
    flat = references.folded.reshape(count * keypoints, -1)
    similarity_KNL = (query.folded[0] @ flat.T).reshape(-1, count, keypoints)
    best_KN = similarity_KNL.argmax(axis=2)
    value_KN = np.take_along_axis(similarity_KNL, best_KN[..., None], axis=2)[..., 0]
    highest_NL = similarity_KNL.max(axis=0)
    mutual_KN = value_KN >= highest_NL[np.arange(count), best_KN]
    value_KN = value_KN - ONE_SIDED * FOLDED_SCALE**2 * ~mutual_KN
    first_MN = np.argpartition(-value_KN, PAIRS, axis=0)[:PAIRS]
    return first_MN.T, np.take_along_axis(best_KN, first_MN, axis=0).T


def _maps(
    one: np.void,
    other: NDArray[np.void],
    of_query_NM: NDArray[np.intp],
    of_reference_NM: NDArray[np.intp],
    order_NM: NDArray[np.intp],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the maps of all pairs: linear parts, shifts, logarithms of scales, and rotations."""
    numbers_N1 = np.arange(len(other))[:, None]
    size = np.maximum(one["sizes"][of_query_NM], 1e-6)
    log_scale = np.log(size / np.maximum(other["sizes"][numbers_N1, of_reference_NM], 1e-6))
    sign = np.where(MIRRORED_G[order_NM], np.float32(-1), np.float32(1))
    half_turn = np.where(NEGATIVE_G[order_NM], np.float32(np.pi), np.float32(0))
    angle = one["angles"][of_query_NM] + half_turn
    angle = angle - sign * other["angles"][numbers_N1, of_reference_NM]
    scale = np.exp(log_scale)
    across, down = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([across, -sign * down, down, sign * across], axis=-1)
    linear = linear.reshape(*linear.shape[:2], 2, 2).astype(np.float32)
    start = other["places"][numbers_N1, of_reference_NM]
    shift = one["places"][of_query_NM] - np.einsum("nmij,nmj->nmi", linear, start)
    return linear, shift.astype(np.float32), log_scale, np.asarray(angle, np.float32)


def _agreements(
    linear: FloatArray,
    shift: FloatArray,
    log_scale: FloatArray,
    angle: FloatArray,
    of_query: FloatArray,
    of_reference: FloatArray,
    order: NDArray[np.intp],
    votes: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return whether the map of one pair (axis 1) suits another pair (axis 2), N x M x M."""
    limit = (NEAR * np.maximum(1, np.exp(log_scale)))[:, :, None]
    agree = votes[:, :, None] & votes[:, None, :] & (order[:, :, None] == order[:, None, :])
    for axis in (0, 1):
        at = (
            linear[:, :, axis, 0, None] * of_reference[:, None, :, 0]
            + linear[:, :, axis, 1, None] * of_reference[:, None, :, 1]
        )
        at += shift[:, :, axis, None] - of_query[:, None, :, axis]
        agree &= np.abs(at) < limit
    agree &= np.abs(log_scale[:, :, None] - log_scale[:, None, :]) < np.log(LARGEST_RATIO)
    agree &= np.cos(angle[:, :, None] - angle[:, None, :]) > np.cos(LARGEST_ANGLE)
    return np.asarray(agree, bool)


def _alignments(
    agree_MM: NDArray[np.bool_],
    counts_M: NDArray[np.intp],
    linear: FloatArray,
    shift: FloatArray,
    of_query: FloatArray,
    of_reference: FloatArray,
    order: NDArray[np.intp],
) -> list[Alignment]:
    """Return the alignments with the most votes that differ from one another."""
    found: list[Alignment] = []
    unlike = counts_M >= LEAST_VOTES
    while unlike.any() and len(found) < MOST_ALIGNMENTS:
        m = int(np.argmax(np.where(unlike, counts_M, 0)))
        fitted = _fitted(
            of_reference[agree_MM[m]], of_query[agree_MM[m]],
            np.column_stack([linear[m], shift[m]]), mirrored=bool(MIRRORED_G[order[m]]),
        )  # fmt: skip
        unlike &= ~agree_MM[m]  # pairs that voted for this alignment propose hardly another one
        if not LEAST_SCALE < np.sqrt(abs(np.linalg.det(fitted[:, :2]))) < MOST_SCALE:
            continue
        found.append(
            Alignment(
                map_33=_homography(fitted),
                negative=bool(NEGATIVE_G[order[m]]),
                votes=int(counts_M[m]),
            )
        )
    return found


def _fitted(
    start_V2: FloatArray, end_V2: FloatArray, map_23: FloatArray, *, mirrored: bool
) -> FloatArray:
    """Return the map that fits the places of the votes best.

    It is affine for many votes, and a similarity for a few, which could not fix an affine map.
    """
    if len(start_V2) >= FOR_AFFINE:
        known = np.column_stack([start_V2, np.ones(len(start_V2))])
        affine = np.linalg.lstsq(known, end_V2, rcond=None)[0].T
        stretch = np.linalg.svd(affine[:, :2], compute_uv=False)
        if 0 < stretch[0] < 2 * stretch[1]:
            return np.asarray(affine, np.float32)
    # A complex number rotates and scales; the mirror image is taken first (Umeyama 1991).
    start = start_V2[:, 0] + 1j * start_V2[:, 1] * (-1 if mirrored else 1)
    end = end_V2[:, 0] + 1j * end_V2[:, 1]
    centred = start - start.mean()
    power = float(np.sum(np.abs(centred) ** 2))
    if power < NEAR**2:
        return map_23
    factor = np.sum(np.conj(centred) * (end - end.mean())) / power
    moved = end.mean() - factor * start.mean()
    sign = -1 if mirrored else 1
    return np.array(
        [[factor.real, -sign * factor.imag, moved.real],
         [factor.imag, sign * factor.real, moved.imag]], np.float32,
    )  # fmt: skip


def _homography(map_23: FloatArray) -> NDArray[np.float64]:
    return np.vstack([map_23.astype(float), [0, 0, 1]])
