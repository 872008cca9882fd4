"""The difference between a registered query and its match.

Axes: C channels, S rows and columns, P pixels. Maps are affine (2 x 3) and refer to the centres of
pixels, unless stated otherwise.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from index.copies.registration import Registration, band_passed, prepare, register
from index.settings import RegistrationSettings

FloatArray = NDArray[np.float32]

# Image coordinates (x to the right, y down) about the middle; see `atlas.synthetic.edits.rotated`.
QUARTER = np.array([[0.0, 1.0], [-1.0, 0.0]])
MIRROR = np.array([[-1.0, 0.0], [0.0, 1.0]])


@dataclass(frozen=True, kw_only=True)
class LaidOver:
    """A query that is registered to its match.

    Attributes:
        laid_23: The map from the query to the match, both with side 1.
        difference_SS: The difference in standard deviations; NaN where the two do not overlap.
        registration_score: The correlation of the registered pixels.
    """

    laid_23: FloatArray
    difference_SS: FloatArray
    registration_score: float


def lay_over(
    query: NDArray[np.uint8], match: NDArray[np.uint8], settings: RegistrationSettings
) -> LaidOver:
    """Register a query (C x H x W) to its match and compare them."""
    banded, reference = band_passed(query, settings), band_passed(match, settings)
    found = register(prepare(banded, settings), reference, settings)
    map_23 = query_to_match(found, settings.size_px)
    return LaidOver(
        laid_23=_of_side_1(map_23, settings.size_px),
        difference_SS=difference(banded, reference, map_23),
        registration_score=found.registration_score,
    )


def warped(rgb: FloatArray, laid_23: FloatArray) -> FloatArray:
    """Return a square picture (S x S x 3) of the query, registered to the match; black outside."""
    side, linear = rgb.shape[0], laid_23[:, :2].astype(float)
    half = np.full(2, 0.5)
    map_23 = np.column_stack([linear, laid_23[:, 2] * side + linear @ half - half])
    return np.asarray(cv2.warpAffine(rgb, map_23, (side, side)), np.float32)


def query_to_match(found: Registration, size_px: int) -> FloatArray:
    """Return the map from query pixels to match pixels: the rotation, then the inverse warp."""
    rotation = np.linalg.matrix_power(QUARTER, found.rotation % 4)
    rotation = MIRROR @ rotation if found.rotation >= 4 else rotation
    middle = np.full(2, (size_px - 1) / 2)
    rotation_23 = np.column_stack([rotation, middle - rotation @ middle])
    unwarp_23 = cv2.invertAffineTransform(found.warp_23.astype(float))
    return np.asarray(unwarp_23 @ np.vstack([rotation_23, [0, 0, 1]]), np.float32)


def difference(banded: FloatArray, reference: FloatArray, map_23: FloatArray) -> FloatArray:
    """Return the difference of band-passed fields at equal contrast, S x S, in standard deviations.

    The mean of each channel is subtracted, so the mean square is 2 (1 - correlation). It is NaN
    where `reference` is not covered.
    """
    side = reference.shape[1]
    covering = np.concatenate([banded, np.ones((1, side, side), np.float32)])
    planes = [cv2.warpAffine(plane, map_23, (side, side)) for plane in covering]
    laid = np.asarray(np.stack(planes), np.float32)
    seen = laid[-1] > 0.99
    apart_CP = _equal_contrast(laid[:-1][:, seen]) - _equal_contrast(reference[:, seen])
    shown = np.full((side, side), np.nan, np.float32)
    shown[seen] = np.sqrt(np.mean(apart_CP**2, axis=0))
    return shown


def _equal_contrast(pixels_CP: FloatArray) -> FloatArray:
    centred_CP = pixels_CP - pixels_CP.mean(axis=1, keepdims=True)
    spread = float(np.sqrt(np.mean(centred_CP**2)))
    return np.asarray(centred_CP / spread if spread > 0 else centred_CP, np.float32)


def _of_side_1(map_23: FloatArray, size_px: int) -> FloatArray:
    """Return the map between corners instead of centres of pixels, with sides as the unit."""
    linear, shift = map_23[:, :2], map_23[:, 2]
    half = np.full(2, 0.5, np.float32)
    return np.column_stack([linear, (shift + half - linear @ half) / size_px]).astype(np.float32)
