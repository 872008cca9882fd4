"""Template matching: where each of many windows fits best on each of several images.

The score is the normalised correlation over all shifts, as in OpenCV's TM_CCOEFF_NORMED. All
windows are matched together, with products of spectra and summed-area tables (Lewis 1995, Fast
normalized cross-correlation), which takes a quarter of the time of separate calls of OpenCV. Axes:
W windows, K images, P x P pixels, Y x X shifts, F frequencies along x, R rows of spectra.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft2

FloatArray = NDArray[np.float32]

# A part with a smaller share of the image's power is blank; rounding would decide its score.
LEAST_POWER = 1e-10


class Group(NamedTuple):
    """Windows of one shape, which are stored next to each other.

    Attributes:
        height, width: The shape.
        first, end: The range of the windows; `end` is excluded.
        top, bottom: The range of their rows in `Templates`; `bottom` is excluded.
        across_XF: The transform from frequencies along x to the shifts at which the windows lie
            within the image.
    """

    height: int
    width: int
    first: int
    end: int
    top: int
    bottom: int
    across_XF: NDArray[np.complex64]


@dataclass(frozen=True, kw_only=True)
class Templates:
    """Windows without their mean and of unit length, as spectra.

    Attributes:
        rows_FRP: The factors of an image's spectrum, to be summed over P, its frequencies along y.
            There is a row R for each window and each vertical shift at which it lies within the
            image, for each frequency F along x.
        order_W: The position of each window before windows were grouped by shape.
        groups: The windows of each shape.
    """

    rows_FRP: NDArray[np.complex64]
    order_W: NDArray[np.intp]
    groups: tuple[Group, ...]


def templates(windows: Sequence[FloatArray], side: int) -> Templates:
    """Prepare windows, which may differ in shape, for images of side x side pixels."""
    order = sorted(range(len(windows)), key=lambda n: windows[n].shape)
    groups: list[Group] = []
    rows = []
    first = top = 0
    for (height, width), alike in groupby(order, key=lambda n: windows[n].shape):
        normalised = _normalised(np.stack([windows[n] for n in alike]))
        down_YP, _ = _at_shifts(side - height + 1, side)
        _, across_XF = _at_shifts(side - width + 1, side)
        end, bottom = first + len(normalised), top + len(normalised) * len(down_YP)
        groups.append(Group(height, width, first, end, top, bottom, across_XF))
        spectra_FWP = np.conj(rfft2(normalised, s=(side, side))).transpose(2, 0, 1)
        rows.append((spectra_FWP[:, :, None] * down_YP).reshape(len(spectra_FWP), -1, side))
        first, top = end, bottom
    return Templates(
        rows_FRP=np.concatenate(rows, axis=1),
        order_W=np.array(order, np.intp),
        groups=tuple(groups),
    )


def best_shifts(
    of: Templates, images_KPP: FloatArray
) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.intp]]:
    """Return where each window fits best on each image.

    Spectra are transformed back by matrix products, because most shifts, at which a window would
    leave the image, are not needed.

    Args:
        of: The windows.
        images_KPP: The images.

    Returns:
        The best score (-1 to 1), and x and y of the upper left corner there, each K x W.
    """
    exact = images_KPP - images_KPP.mean((1, 2), dtype=np.float64, keepdims=True)
    spectra_FPK = np.ascontiguousarray(rfft2(exact.astype(np.float32)).transpose(2, 1, 0))
    down_FRK = of.rows_FRP @ spectra_FPK
    sums, squares = sums_from_corner(exact), sums_from_corner(exact**2)
    least_K = np.maximum(LEAST_POWER * squares[:, -1, -1], np.finfo(float).tiny)
    shape_KW = (len(images_KPP), len(of.order_W))
    score_KW = np.empty(shape_KW, np.float32)
    x_KW, y_KW = np.empty(shape_KW, np.intp), np.empty(shape_KW, np.intp)
    for group in of.groups:
        inverse_KYX = _inverse_lengths(sums, squares, group, least_K)
        images, rows, columns = inverse_KYX.shape
        part = down_FRK[:, group.top : group.bottom].reshape(len(down_FRK), -1)
        products_XWYK = (group.across_XF @ part).real.reshape(columns, -1, rows, images)
        scores_KWYX = products_XWYK.transpose(3, 1, 2, 0) * inverse_KYX[:, None]
        scores = scores_KWYX.reshape(images, -1, rows * columns)
        best = scores.argmax(2)
        places = of.order_W[group.first : group.end]
        score_KW[:, places] = np.take_along_axis(scores, best[..., None], axis=2)[..., 0]
        y_KW[:, places], x_KW[:, places] = np.divmod(best, columns)
    return score_KW, x_KW, y_KW


def _normalised(windows_WYX: FloatArray) -> FloatArray:
    centred = windows_WYX - windows_WYX.mean((1, 2), dtype=np.float64, keepdims=True)
    length = np.sqrt(np.sum(centred**2, axis=(1, 2), keepdims=True))
    return np.asarray(centred / np.where(length > 0, length, 1), np.float32)


@cache
def _at_shifts(shifts: int, side: int) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Return the inverse Fourier transforms along y and x, for shifts (rows) 0, 1, ...

    The transform along y has all frequencies (columns). The one along x has those from 0 to side //
    2, which also represent their negatives and are scaled for both.
    """
    rotations = np.outer(np.arange(shifts), np.arange(side)) / side
    waves = np.exp(2j * np.pi * rotations)
    weights = np.where(np.arange(side // 2 + 1) % (side / 2) == 0, 1, 2) / side**2
    across = waves[:, : len(weights)] * weights
    return waves.astype(np.complex64), across.astype(np.complex64)


def _inverse_lengths(
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    group: Group,
    least_K: NDArray[np.float64],
) -> FloatArray:
    """Return the inverse length of the centred pixels below a window, K x Y x X; 0 if blank."""
    sum_KYX = _below(sums, group.height, group.width)
    power_KYX = _below(squares, group.height, group.width)
    power_KYX -= sum_KYX**2 / (group.height * group.width)
    least_K11 = least_K[:, None, None]
    inverse_KYX = 1 / np.sqrt(np.maximum(power_KYX, least_K11))
    return np.where(power_KYX > least_K11, inverse_KYX, 0).astype(np.float32)


def sums_from_corner(values_KPP: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return summed-area tables: at [y, x] the sum of all values above y and left of x.

    The shape is K x (P + 1) x (P + 1).
    """
    return np.pad(values_KPP.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))


def _below(sums: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return the sum of the pixels below a window of this shape at each shift, K x Y x X."""
    strip = sums[:, height:] - sums[:, :-height]
    return np.asarray(strip[:, :, width:] - strip[:, :, :-width])
