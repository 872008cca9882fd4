"""Where each of many windows fits best on each of some images: normalised correlation over every
shift.

The scores are those of OpenCV's TM_CCOEFF_NORMED. All windows are matched at once, by products of
spectra and tables of sums (Lewis 1995, Fast normalized cross-correlation), which takes a quarter of
the time of as many calls of OpenCV. Axes: W windows, K images, P x P pixels, Y x X shifts.
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

# Of an image's power: a part with less shows nothing, and rounding would decide its score.
LEAST_POWER = 1e-10


class Group(NamedTuple):
    """Windows of one shape, which stand side by side from `first` to before `end`; of their rows,
    see `Templates`, those from `top` to before `bottom`.

    across_XF: from frequencies along x to the shifts at which the windows lie on the image.
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

    rows_FRP: to be multiplied with an image's spectrum and summed over P, its frequencies along y:
        for each window and each shift down at which it lies on the image a row R, and for each
        frequency F along x.
    order_W: windows stand by their shape; so which one is where.
    """

    rows_FRP: NDArray[np.complex64]
    order_W: NDArray[np.intp]
    groups: tuple[Group, ...]


def templates(windows: Sequence[FloatArray], side: int) -> Templates:
    """For images of side x side. The windows may differ in shape."""
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
    """Of each window on each image: its best score, -1..1, and x and y of its upper left corner
    there, K x W.

    Spectra are transformed back by products of matrices, as most shifts, at which a window would
    leave the image, are not wanted.
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
    """What frequencies (columns) give at shifts 0, 1, ... (rows): all of them along y; those from 0
    to side // 2 along x, which stand for their negatives too, and are scaled for both."""
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
    """K x Y x X: of what lies below a window, without its mean; 0 where that shows nothing."""
    sum_KYX = _below(sums, group.height, group.width)
    power_KYX = _below(squares, group.height, group.width)
    power_KYX -= sum_KYX**2 / (group.height * group.width)
    least_K11 = least_K[:, None, None]
    inverse_KYX = 1 / np.sqrt(np.maximum(power_KYX, least_K11))
    return np.where(power_KYX > least_K11, inverse_KYX, 0).astype(np.float32)


def sums_from_corner(values_KPP: NDArray[np.float64]) -> NDArray[np.float64]:
    """K x (P + 1) x (P + 1): at [y, x] the sum of all values above y and left of x."""
    return np.pad(values_KPP.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))


def _below(sums: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """K x Y x X: the sum of what lies below a window of this shape at each shift."""
    strip = sums[:, height:] - sums[:, :-height]
    return np.asarray(strip[:, :, width:] - strip[:, :, :-width])
