"""Where each of many windows fits best on one image: normalised correlation over every shift.

The scores are those of OpenCV's TM_CCOEFF_NORMED. All windows of a query are matched at once, by
products of spectra (Lewis 1995, Fast normalized cross-correlation), which takes a quarter of the
time of as many calls of OpenCV. Axes: W windows, S shapes of windows, P x P pixels of the image,
Y x X shifts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

FloatArray = NDArray[np.float32]

# Of an image's power: a part with less shows nothing, and rounding would decide its score.
LEAST_POWER = 1e-10


@dataclass(frozen=True, kw_only=True)
class Templates:
    """Windows as spectra: conjugate, of unit length without their mean, at the image's size.

    boxes_SPF: of windows that are 1 everywhere, one for each shape. pixels_S: of that shape.
    outside_SYX: -inf where such a window would stand out of the image, else 0.
    """

    spectra_WPF: NDArray[np.complex64]
    shape_W: NDArray[np.intp]
    boxes_SPF: NDArray[np.complex128]
    pixels_S: NDArray[np.float64]
    outside_SYX: FloatArray


def templates(windows: Sequence[FloatArray], side: int) -> Templates:
    """For images of side x side. The windows may differ in shape."""
    shapes = sorted({window.shape for window in windows})
    shape_W = np.array([shapes.index(window.shape) for window in windows], np.intp)
    boxes_SPP = np.zeros((len(shapes), side, side), np.float32)
    outside_SYX = np.full(boxes_SPP.shape, -np.inf, np.float32)
    for box, outside, (height, width) in zip(boxes_SPP, outside_SYX, shapes, strict=True):
        box[:height, :width] = 1
        outside[: side - height + 1, : side - width + 1] = 0
    pixels_S = boxes_SPP.sum((1, 2), dtype=np.float64)
    padded_WPP = np.zeros((len(windows), side, side), np.float32)
    for place, window in zip(padded_WPP, windows, strict=True):
        place[: window.shape[0], : window.shape[1]] = window
    mean_W = padded_WPP.sum((1, 2), dtype=np.float64) / pixels_S[shape_W]
    padded_WPP -= mean_W[:, None, None].astype(np.float32) * boxes_SPP[shape_W]
    length_W = np.sqrt(np.einsum("wyx,wyx->w", padded_WPP, padded_WPP))
    padded_WPP /= np.where(length_W > 0, length_W, 1)[:, None, None]
    return Templates(
        spectra_WPF=np.conj(rfft2(padded_WPP)),
        shape_W=shape_W,
        boxes_SPF=np.conj(rfft2(boxes_SPP.astype(np.float64))),
        pixels_S=pixels_S,
        outside_SYX=outside_SYX,
    )


def best_shifts(
    of: Templates, image_PP: FloatArray
) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.intp]]:
    """Of each window: its best score, -1..1, and x and y of its upper left corner there."""
    centred_PP = image_PP - image_PP.mean(dtype=np.float64).astype(np.float32)
    products_WYX = irfft2(rfft2(centred_PP) * of.spectra_WPF, s=image_PP.shape)
    scores_WYX = products_WYX * _inverse_lengths(of, centred_PP)[of.shape_W]
    scores_WYX += of.outside_SYX[of.shape_W]
    best_W = scores_WYX.reshape(len(scores_WYX), -1).argmax(1)
    y_W, x_W = np.divmod(best_W, len(image_PP))
    return scores_WYX[np.arange(len(best_W)), y_W, x_W], x_W, y_W


def _inverse_lengths(of: Templates, image_PP: FloatArray) -> FloatArray:
    """S x Y x X: of what lies below a window, without its mean; 0 where that is flat."""
    exact_PP = image_PP.astype(np.float64)
    both = rfft2(np.stack([exact_PP, exact_PP**2]))[:, None] * of.boxes_SPF
    sums_SYX, squares_SYX = irfft2(both, s=image_PP.shape)
    power_SYX = squares_SYX - sums_SYX**2 / of.pixels_S[:, None, None]
    least = LEAST_POWER * np.sum(exact_PP**2)
    inverse_SYX = 1 / np.sqrt(np.maximum(power_SYX, max(least, np.finfo(float).tiny)))
    return np.where(power_SYX > least, inverse_SYX, 0).astype(np.float32)
