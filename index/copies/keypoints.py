"""Keypoints: places of an image that can be recognised, and what the image looks like there.

Keypoints are those of SIFT (Lowe 2004), found at two sizes of the image, so that a crop that was
enlarged three times still shares keypoints with its original. Descriptors are square roots of
normalised histograms (RootSIFT, Arandjelovic & Zisserman 2012).

A mirrored image and a negative have the same histograms in another order. A folded descriptor is
made of sums and absolute differences over these four orders, so it is equal for an image, its
mirror image, its negative and both; one comparison finds any of them.

Axes: C channels, H rows, W columns, K keypoints, D 128 values of a descriptor, G 4 orders.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SIZES_PX = (64, 128)  # sides at which keypoints are searched
EACH_SIZE = 96  # the largest number of keypoints at each size
KEYPOINTS = EACH_SIZE * len(SIZES_PX)
VALUES = 128
# Microscopy is smoother than photographs, for which the defaults of OpenCV (0.04, 10) were made.
LEAST_CONTRAST, MOST_EDGE, BLUR_PX = 0.01, 20.0, 1.2
SHOWN_DEVIATIONS = 3.0
BLANK_BELOW = 0.05  # standard deviation of the square roots of counts

# A histogram has 4 x 4 cells (rows, columns) of 8 directions, relative to the keypoint's own.
_CELLS = np.arange(VALUES).reshape(4, 4, 8)
_MIRRORED = _CELLS[::-1][:, :, -np.arange(8) % 8].ravel()
_NEGATIVE = _CELLS[::-1, ::-1].ravel()
ORDERS_GD = np.stack([_CELLS.ravel(), _MIRRORED, _NEGATIVE, _NEGATIVE[_MIRRORED]])
MIRRORED_G = np.array([False, True, False, True])
NEGATIVE_G = np.array([False, False, True, True])
# Each value is moved to three others by the orders; one of the four stands for all.
_FIRST = np.flatnonzero(ORDERS_GD.min(axis=0) == np.arange(VALUES))
_SIGNS = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], np.float32)


@dataclass(frozen=True, kw_only=True)
class Keypoints:
    """The keypoints of an image, the most contrasted first at each size; absent ones have size 0.

    Attributes:
        places_K2: x and y, as shares of the side.
        sizes_K: Diameters, as shares of the side.
        angles_K: Directions in radians.
        descriptors_KD: Descriptors of unit length.
    """

    places_K2: FloatArray
    sizes_K: FloatArray
    angles_K: FloatArray
    descriptors_KD: FloatArray

    @property
    def folded_KD(self) -> FloatArray:
        """Return the folded descriptors, which have unit length, too."""
        orders_GKF = self.descriptors_KD[:, ORDERS_GD[:, _FIRST]].transpose(1, 0, 2)
        folded_SKF = np.tensordot(_SIGNS, orders_GKF, axes=1) / 2
        return np.abs(folded_SKF).transpose(1, 0, 2).reshape(len(self.sizes_K), VALUES)


def composite(roots_CHW: FloatArray) -> FloatArray:
    """Return one picture of all channels, H x W, which does not depend on their order.

    Each channel has its mean subtracted and is divided by its standard deviation, unless it is
    blank.

    Args:
        roots_CHW: The square roots of the counts.
    """
    means, deviations = roots_CHW.mean((1, 2)), roots_CHW.std((1, 2))
    weights = np.where(deviations > BLANK_BELOW, 1 / np.maximum(deviations, BLANK_BELOW), 0)
    flat = np.tensordot(weights, roots_CHW, axes=1) - float(weights @ means)
    return np.asarray(flat, np.float32)


def find_keypoints(picture: FloatArray) -> Keypoints:
    """Find the keypoints of a composite (S x S)."""
    deviation = float(picture.std()) or 1.0
    shown = np.clip(picture / (2 * SHOWN_DEVIATIONS * deviation) + 0.5, 0, 1)
    found = [_found(shown, side) for side in SIZES_PX]
    return Keypoints(
        places_K2=np.concatenate([one.places_K2 for one in found]),
        sizes_K=np.concatenate([one.sizes_K for one in found]),
        angles_K=np.concatenate([one.angles_K for one in found]),
        descriptors_KD=np.concatenate([one.descriptors_KD for one in found]),
    )


def _found(shown: FloatArray, side: int) -> Keypoints:
    how = cv2.INTER_AREA if side < len(shown) else cv2.INTER_CUBIC
    small = np.clip(cv2.resize(shown, (side, side), interpolation=how), 0, 1)
    found, values = _detector().detectAndCompute(np.rint(255 * small).astype(np.uint8), None)
    places_K2, sizes_K = np.zeros((EACH_SIZE, 2), np.float32), np.zeros(EACH_SIZE, np.float32)
    angles_K, descriptors_KD = (
        np.zeros(EACH_SIZE, np.float32),
        np.zeros((EACH_SIZE, VALUES), np.float32),
    )
    found = found[:EACH_SIZE]
    if len(found):
        count = len(found)
        places_K2[:count] = (np.asarray(cv2.KeyPoint.convert(found), float) + 0.5) / side
        sizes_K[:count] = [one.size / side for one in found]
        angles_K[:count] = np.deg2rad([one.angle for one in found])
        values = values[:count]
        descriptors_KD[:count] = np.sqrt(values / np.maximum(values.sum(1, keepdims=True), 1e-6))
    return Keypoints(
        places_K2=places_K2, sizes_K=sizes_K, angles_K=angles_K, descriptors_KD=descriptors_KD
    )


@cache
def _detector() -> Any:
    # OpenCV's types do not name SIFT.
    return cv2.SIFT_create(  # type: ignore[attr-defined]
        nfeatures=EACH_SIZE,
        contrastThreshold=LEAST_CONTRAST,
        edgeThreshold=MOST_EDGE,
        sigma=BLUR_PX,
    )
