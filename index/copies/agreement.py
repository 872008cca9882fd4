"""Agreement: in which blocks two aligned images show the same.

The overlap of two images is compared in the frame of the one that shows it with fewer pixels. It is
band-passed and divided into blocks, and a block of a channel agrees if its pixels correlate. An
edit spoils some blocks and leaves the others as they were, so the number of agreeing blocks says
more than one correlation of all pixels. Smooth blocks and straight edges are not compared, because
they agree between different images, too.

Maps are homographies (3 x 3) from the reference to the query, with sides of 1 and the origin in the
upper left corner. Axes: C and E channels of the query and of the reference, H rows, W columns, B
blocks, P pixels of a block, S pixels of a side.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from index.settings import Look, RegistrationSettings

FloatArray = NDArray[np.float32]
Map = NDArray[np.floating[Any]]

LEAST_SIDE = 16  # pixels of the overlap along each axis
LEAST_BLOCKS_A_SIDE = 6
LEAST_BLOCK_PX = 6
SEEN = 0.95  # share of a block that both images must show
SMOOTH_BELOW = 0.02  # standard deviation of band-passed square roots
# The least power of a block's gradients across their main direction, as a share of that along it.
STRAIGHT_BELOW = 0.05
EXTENT_SIDE = 64  # pixels of the grid on which the extent of an overlap is measured
AT_ONCE = 4  # channels that OpenCV warps in one call
STEPS, ENOUGH = 20, 1e-3  # of the refinement
MOST_CHANGE = 2.0  # of areas by the refinement
REFINED_BLUR = 5  # side of the filter before the refinement, in pixels


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The blocks of two aligned images, without those that one of them does not show.

    Attributes:
        correlations_BCE: The correlation of each block, for each channel of the query with each of
            the reference.
        comparable_BCE: Whether neither block is smooth, nor shows nothing but a straight edge.
        boxes_B4: The blocks, as left, top, right and bottom, with sides of 1.
        of_reference: Whether the boxes lie in the reference; otherwise they lie in the query.
    """

    correlations_BCE: FloatArray
    comparable_BCE: NDArray[np.bool_]
    boxes_B4: FloatArray
    of_reference: bool = True


NOTHING_SEEN = Agreement(
    correlations_BCE=np.zeros((0, 1, 1), np.float32),
    comparable_BCE=np.zeros((0, 1, 1), bool),
    boxes_B4=np.zeros((0, 4), np.float32),
)


def shrunk(field: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return an image (C x H x W) at side x side pixels."""
    if field.shape[1:] == (side, side):
        return field
    how = cv2.INTER_AREA if max(field.shape[1:]) > side else cv2.INTER_CUBIC
    return np.stack([cv2.resize(plane, (side, side), interpolation=how) for plane in field])


def roots(field: NDArray[np.uint8], dimmest: float) -> FloatArray:
    """Return the square roots of the counts of an image (C x H x W), H x W x C.

    The square root makes the noise of photon counts uniform (Anscombe 1948), and dampens gamma
    changes.

    Args:
        field: The image.
        dimmest: What is added to each count, so that the noise of the camera in dark places, which
            is not that of photons, stays small.
    """
    counts = np.ascontiguousarray(field.transpose(1, 2, 0)).astype(np.float32)
    return np.asarray(np.sqrt(counts + np.float32(dimmest)), np.float32)


def as_compared(field: NDArray[np.uint8], settings: RegistrationSettings) -> NDArray[np.uint8]:
    """Return an image (C x H x W) with no more pixels than a comparison can use."""
    large = max(field.shape[1:]) > settings.finest_px
    return shrunk(field, settings.finest_px) if large else field


class Pictures:
    """The square roots of an image at several sizes, each of which is made once.

    Args:
        field: The image, C x H x W.
        settings: The settings of the comparison.
    """

    def __init__(self, field: NDArray[np.uint8], settings: RegistrationSettings) -> None:
        self._field = as_compared(field, settings)
        self._dimmest = settings.dimmest
        self._made: dict[int, FloatArray] = {}

    @property
    def native_px(self) -> int:
        """The pixels of the image along its shorter side."""
        return int(min(self._field.shape[1:]))

    def at(self, side: int) -> FloatArray:
        """Return the square roots at side x side pixels, H x W x C."""
        if side not in self._made:
            self._made[side] = roots(shrunk(self._field, side), self._dimmest)
        return self._made[side]


def side_of(query: Pictures, reference: Pictures, map_33: Map, look: Look) -> int:
    """Return the side of the pictures at which an alignment is compared.

    A small overlap is compared at a larger size, so that it has as many blocks as a large one, if
    the image that shows it with fewer pixels has so many.

    Args:
        query: The query.
        reference: The reference.
        map_33: The alignment.
        look: How they are compared.
    """
    swapped = enlargement(map_33) < 1
    coarser = query if swapped else reference
    seen = common(np.linalg.inv(map_33) if swapped else map_33, EXTENT_SIDE)
    extent = max(int(seen.any(axis=axis).sum()) for axis in (0, 1)) / EXTENT_SIDE
    side = look.size_px
    while 2 * side <= coarser.native_px and 2 * side * extent <= look.size_px:
        side *= 2
    return side


def agreement(
    query: FloatArray,
    reference: FloatArray,
    map_33: Map,
    look: Look,
    *,
    pattern_SS: NDArray[np.bool_] | None = None,
) -> Agreement:
    """Return how the blocks of two aligned images correlate.

    Args:
        query: The square roots of the query, H x W x C.
        reference: The square roots of the reference, H x W x E, of the same size.
        map_33: The alignment.
        look: How they are compared.
        pattern_SS: The pixels that all images of the atlas show alike, which are not compared.
    """
    swapped = enlargement(map_33) < 1  # the query shows the overlap with fewer pixels
    if swapped:
        map_33, query, reference = np.linalg.inv(map_33), reference, query
    seen = common(map_33, len(reference))
    if pattern_SS is not None:
        seen &= ~pattern_SS
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    if min(len(rows), len(columns)) < LEAST_SIDE:
        return NOTHING_SEEN
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    laid = warped(query, map_33, len(reference))
    one, other = (band_passed(picture[window], look) for picture in (laid, reference))
    side = _block_side(one.shape[0], one.shape[1], look)
    boxes_B4 = _boxes(one.shape[0], one.shape[1], side) + np.array(
        [columns[0], rows[0], columns[0], rows[0]], np.float32
    )
    shown_B = (
        channel_blocks(seen[window][..., None].astype(np.float32), side).mean(axis=(1, 2)) > SEEN
    )
    a_BCP, b_BEP = (channel_blocks(banded, side)[shown_B] for banded in (one, other))
    a_BCP, b_BEP = (x - x.mean(axis=2, keepdims=True) for x in (a_BCP, b_BEP))
    a_BC, b_BE = (np.sqrt(np.sum(x * x, axis=2)) for x in (a_BCP, b_BEP))
    least = SMOOTH_BELOW * side
    lengths = np.maximum(a_BC, least)[:, :, None] * np.maximum(b_BE, least)[:, None, :]
    correlations = (a_BCP @ b_BEP.transpose(0, 2, 1)) / lengths
    detailed_BC, detailed_BE = (
        (length >= least) & _varied(banded, side)[shown_B]
        for length, banded in ((a_BC, one), (b_BE, other))
    )
    comparable = detailed_BC[:, :, None] & detailed_BE[:, None, :]
    if swapped:
        correlations, comparable = (x.transpose(0, 2, 1) for x in (correlations, comparable))
    return Agreement(
        correlations_BCE=correlations,
        comparable_BCE=comparable,
        boxes_B4=boxes_B4[shown_B] / len(reference),
        of_reference=not swapped,
    )


def refined(
    query: FloatArray,
    reference: FloatArray,
    map_33: Map,
    look: Look,
    *,
    negative: bool,
) -> Map:
    """Return the alignment after OpenCV's enhanced correlation coefficient has refined it.

    A homography is fitted to all channels together (Evangelidis & Psarakis 2008). If that does not
    converge, the alignment is returned as it is.

    Args:
        query: As for `agreement`.
        reference: As for `agreement`.
        map_33: The alignment.
        look: How they are compared.
        negative: Whether the query is a negative of the reference.
    """
    swapped = enlargement(map_33) < 1
    start = np.linalg.inv(map_33) if swapped else map_33
    moving, fixed = (reference, query) if swapped else (query, reference)
    side = len(fixed)
    laid = band_passed(warped(moving, start, side), look).sum(axis=2)
    seen = common(start, side).astype(np.uint8)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, ENOUGH)
    try:
        _, residual = cv2.findTransformECC(
            band_passed(fixed, look).sum(axis=2), -laid if negative else laid,
            np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, stop, seen, REFINED_BLUR,
        )  # fmt: skip
        to_pixels = _to_pixels(side)
        better = start @ np.linalg.inv(to_pixels) @ residual.astype(float) @ to_pixels
        if not 1 / MOST_CHANGE < enlargement(better) / enlargement(start) < MOST_CHANGE:
            return map_33  # it ran away
        return np.linalg.inv(better) if swapped else better
    except (cv2.error, np.linalg.LinAlgError):
        return map_33


def enlargement(map_33: Map) -> float:
    """Return by how much a map enlarges areas in the middle of the reference."""
    half = np.array([0.5, 0.5, 1.0])
    depth = map_33[2] @ half
    return abs(float(np.linalg.det(map_33) / depth**3))


def common(map_33: Map, side: int) -> NDArray[np.bool_]:
    """Return which pixels of the reference the query shows, too, side x side."""
    at = ((np.arange(side) + 0.5) / side).astype(np.float32)
    x, y, depth = (
        np.float32(across) * at[None, :] + np.float32(down) * at[:, None] + np.float32(shift)
        for across, down, shift in map_33
    )
    return (depth > 0) & (x >= 0) & (x <= depth) & (y >= 0) & (y <= depth)


def warped(picture: FloatArray, map_33: Map, side: int) -> FloatArray:
    """Return a picture (H x W x C) laid over a reference of side x side pixels.

    A picture that is laid over fewer pixels is blurred first, as area averaging would do it.
    """
    pixels_33 = _to_pixels(len(picture)) @ map_33 @ np.linalg.inv(_to_pixels(side))
    shrink = np.sqrt(enlargement(map_33)) * len(picture) / side
    if shrink > 1:
        picture = _blurred(picture, 0.5 * float(np.sqrt(shrink**2 - 1)))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    parts = [
        cv2.warpPerspective(
            np.ascontiguousarray(picture[..., n : n + AT_ONCE]), pixels_33, (side, side),
            flags=flags, borderMode=cv2.BORDER_REPLICATE,
        ).reshape(side, side, -1)
        for n in range(0, picture.shape[2], AT_ONCE)
    ]  # fmt: skip
    return np.asarray(np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0], np.float32)


def _to_pixels(side: int) -> Map:
    """Return the map from sides of 1 to the centres of pixels."""
    return np.array([[side, 0, -0.5], [0, side, -0.5], [0, 0, 1]])


def band_passed(picture: FloatArray, look: Look) -> FloatArray:
    """Return a picture (H x W x C) without its shading and its pixel noise."""
    return _blurred(picture, look.fine_px) - _blurred(picture, look.coarse_px)


def _blurred(picture: FloatArray, deviation_px: float) -> FloatArray:
    if deviation_px < 0.3:
        return picture
    blurred = cv2.GaussianBlur(picture, (0, 0), deviation_px)
    return np.asarray(blurred, np.float32).reshape(picture.shape)


def _varied(banded: FloatArray, side: int) -> NDArray[np.bool_]:
    """Return whether each block of a picture (H x W x C) varies along both axes, B x C.

    A straight edge looks the same all along, so edges of different images agree once they lie over
    one another, as those of two smooth nuclei do. The eigenvalues of the structure tensor tell them
    from other details (Harris & Stephens 1988).
    """
    across, down = (
        cv2.Sobel(banded, cv2.CV_32F, *axes).reshape(banded.shape) for axes in ((1, 0), (0, 1))
    )
    xx_BC, yy_BC, xy_BC = (
        channel_blocks(product, side).sum(axis=2)
        for product in (across * across, down * down, across * down)
    )
    both, apart = xx_BC + yy_BC, np.sqrt((xx_BC - yy_BC) ** 2 + 4 * xy_BC**2)
    return np.asarray(both - apart >= STRAIGHT_BELOW * (both + apart), bool)


def _block_side(height: int, width: int, look: Look) -> int:
    """Return the side of a block; a small overlap has smaller blocks, so that there are some."""
    return max(LEAST_BLOCK_PX, min(look.block_px, min(height, width) // LEAST_BLOCKS_A_SIDE))


def _first(length: int, side: int) -> int:
    """Return where the first block begins, so that blocks lie in the middle."""
    return length % side // 2


def _boxes(height: int, width: int, side: int) -> FloatArray:
    """Return the blocks of a picture as left, top, right and bottom, B x 4."""
    tops = _first(height, side) + side * np.arange(height // side)
    lefts = _first(width, side) + side * np.arange(width // side)
    top_B, left_B = (x.ravel() for x in np.meshgrid(tops, lefts, indexing="ij"))
    return np.stack([left_B, top_B, left_B + side, top_B + side], axis=1).astype(np.float32)


def channel_blocks(picture: FloatArray, side: int) -> FloatArray:
    """Return the blocks of a picture (H x W x C), row by row, B x C x P."""
    rows, columns = (length // side for length in picture.shape[:2])
    top, left = (_first(length, side) for length in picture.shape[:2])
    inner = picture[top : top + rows * side, left : left + columns * side]
    split = inner.reshape(rows, side, columns, side, -1).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(split.reshape(rows * columns, picture.shape[2], side * side))
