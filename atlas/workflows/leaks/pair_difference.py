"""The difference between a registered query and its match.

Axes: C channels, S rows and columns, P pixels, B blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.report.agreeing_blocks import AgreeingBlocks, as_grid
from index.copies.agreement import (
    Agreement,
    Map,
    Pictures,
    band_passed,
    common,
    warped,
)
from index.copies.false_alarms import ASSUMED_LAW, NonMatches
from index.copies.geometry import geometry, linear_at_middle
from index.copies.registration import Registration, agreeing_blocks, blocks_at, register
from index.settings import Look, RegistrationSettings

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class LaidOver:
    """A query that is registered to its match.

    Attributes:
        found: The registration.
        laid_23: The affine map from the query to the match, both with side 1, that fits best in the
            middle of the match.
        difference_SS: The difference in standard deviations; NaN where the two do not overlap.
        agreeing_B4: The blocks that agree, as left, top, right and bottom with sides of 1.
        of_match: Whether these blocks lie in the match; otherwise they lie in the query.
    """

    found: Registration
    laid_23: FloatArray
    difference_SS: FloatArray
    agreeing_B4: FloatArray
    of_match: bool

    @property
    def blocks(self) -> AgreeingBlocks | None:
        """The agreeing blocks for a page; None if there are none."""
        laid_23 = self.laid_23.astype(float)
        onto_23 = cv2.invertAffineTransform(laid_23) if self.of_match else laid_23
        return as_grid(self.agreeing_B4, np.asarray(onto_23, np.float32), of_match=self.of_match)

    def geometry_in_words(self, channels: Sequence[str]) -> str:
        """Return what was done to the query, and how many blocks agree, as a sentence."""
        found = self.found
        if found.score <= 0:
            return "The pictures could not be aligned."
        done = geometry(found).in_words(channels) or "neither rotated nor scaled"
        counted = ", counted in each channel" if len(channels) > 1 else ""
        return (
            f"Geometry of the query: {done}. {found.agreeing} of {found.comparable} comparable "
            f"blocks agree{counted}."
        )


def lay_over(
    query: NDArray[np.uint8],
    match: NDArray[np.uint8],
    settings: RegistrationSettings,
    law: NonMatches = ASSUMED_LAW,
) -> LaidOver:
    """Register a query (C x H x W) to its match and compare them."""
    (found,) = register(query, [match], settings, law)
    one, other = Pictures(query, settings), Pictures(match, settings)
    look = settings.looks[0]
    (blocks,) = blocks_at(one, other, found.map_33, [look], law)
    return LaidOver(
        found=found,
        laid_23=affine(found.map_33),
        difference_SS=difference(one.at(look.size_px), other.at(look.size_px), found, look),
        agreeing_B4=_agreeing(blocks, found, law),
        of_match=blocks.of_reference,
    )


def laid(rgb: FloatArray, laid_23: FloatArray) -> FloatArray:
    """Return a square picture (S x S x 3) of the query, registered to the match; black outside."""
    side, linear = rgb.shape[0], laid_23[:, :2].astype(float)
    half = np.full(2, 0.5)
    map_23 = np.column_stack([linear, laid_23[:, 2] * side + linear @ half - half])
    return np.asarray(cv2.warpAffine(rgb, map_23, (side, side)), np.float32)


def affine(map_33: Map) -> FloatArray:
    """Return the affine map back that fits best in the middle of the reference, 2 x 3."""
    middle = np.array([0.5, 0.5, 1.0])
    x, y, depth = map_33 @ middle
    back = np.linalg.inv(linear_at_middle(map_33))
    shift = middle[:2] - back @ np.array([x / depth, y / depth])
    return np.column_stack([back, shift]).astype(np.float32)


def difference(query: FloatArray, match: FloatArray, found: Registration, look: Look) -> FloatArray:
    """Return the difference of band-passed images at equal contrast, S x S, in standard deviations.

    The mean of each channel is subtracted, so the mean square is 2 (1 - correlation). It is NaN
    where the query does not show the match.
    """
    side = len(match)
    order = [c for c in found.channels_E if c >= 0] or list(range(query.shape[2]))
    one = band_passed(warped(query, found.map_33, side), look)[..., order]
    other = band_passed(match, look)
    seen_SS = common(found.map_33, side)
    shown = np.full((side, side), np.nan, np.float32)
    if seen_SS.any():
        sign = -1 if found.negative else 1
        apart_PC = _equal_contrast(sign * one[seen_SS]) - _equal_contrast(other[seen_SS])
        shown[seen_SS] = np.sqrt(np.mean(apart_PC**2, axis=1))
    return shown


def _equal_contrast(pixels_PC: FloatArray) -> FloatArray:
    centred_PC = pixels_PC - pixels_PC.mean(axis=0)
    spread = float(np.sqrt(np.mean(centred_PC**2)))
    return np.asarray(centred_PC / spread if spread > 0 else centred_PC, np.float32)


def _agreeing(blocks: Agreement, found: Registration, law: NonMatches) -> FloatArray:
    if not len(blocks.boxes_B4) or found.score <= 0:
        return np.zeros((0, 4), np.float32)
    return blocks.boxes_B4[agreeing_blocks(blocks, found, law)]
