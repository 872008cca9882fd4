"""Checks whether the channels of an image show the same cells, to find mixed-up files.

In a correct image, the outlines of each stain fit those of the others best at their own place. A
channel of another image fits no better there than at any other place. Each channel is therefore
compared with the others at every circular shift, and the fit at its own place with the fit at
displaced places. The image is its own reference, whatever its cell line, stain or exposure.

Axes: C channels, H rows, W columns, S side of the small maps, A channels with enough contrast.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 64  # a cell is then about 10 px wide, and an image takes about a millisecond
SMALLEST_PX = 32
BAND_SIGMAS_PX = (0.7, 2.0)  # keeps outlines of cells and nuclei, but not grain or illumination
OTHER_PLACE = 1 / 8  # share of the side; larger shifts are displaced places
LEAST_CONTRAST = 16  # gray levels between the 1st and the 99th percentile of the small map
LEAST_SCORE = 2.0
RIDGE = 1e-3  # keeps the fit regular if two channels come from the same file


def coherence_scores(field: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the score of each channel of an image, float64 C.

    A score is the number of standard deviations by which the fit at the channel's own place exceeds
    the mean fit at displaced places. A channel below LEAST_SCORE does not seem to belong to the
    image. By chance, 4% to 10% of foreign channels score more and are not detected. If there are
    two channels, both score low, because either may be the foreign one. A protein that follows no
    outline may score low although it belongs to the image.

    A score is NaN if it cannot be judged: for channels without contrast, for all channels if fewer
    than two have contrast, and for images below 32 px.

    Args:
        field: The image, uint8 C x H x W.
    """
    scores = np.full(len(field), np.nan)
    if len(field) < 2 or min(field.shape[1:]) < SMALLEST_PX:
        return scores
    small = np.stack([_small(plane) for plane in field])
    low, high = np.percentile(small, (1, 99), axis=(1, 2))
    able = np.flatnonzero(high - low >= LEAST_CONTRAST)
    if len(able) < 2:
        return scores
    correlation = _correlations(np.stack([_outlines(small[c]) for c in able]))
    elsewhere = _displaced()
    for n, channel in enumerate(able):
        fit = _fit_by_others(correlation, n)
        displaced = fit[elsewhere]
        scores[channel] = (fit[0, 0] - displaced.mean()) / max(float(displaced.std()), 1e-12)
    return scores


def _small(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(
        cv2.resize(plane, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def _outlines(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return S x S of unit length. The root reduces shot noise, so that dim cells count as well."""
    root = np.sqrt(small.astype(np.float32))
    fine, coarse = (cv2.GaussianBlur(root, (0, 0), sigma) for sigma in BAND_SIGMAS_PX)
    band = np.asarray(fine, np.float32) - np.asarray(coarse, np.float32)
    band -= band.mean()
    return np.asarray(band / max(float(np.linalg.norm(band)), 1e-12), np.float32)


def _correlations(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return A x A x S x S: [a, b] at a shift correlates a with b moved by that shift.

    A map with itself is 1 at no shift, and nobody needs its other shifts, which are 0 here.
    """
    spectra = np.fft.rfft2(maps)
    a, b = np.triu_indices(len(maps), 1)
    of_pairs = np.fft.irfft2(spectra[a] * np.conj(spectra[b]), s=maps.shape[1:])
    correlation = np.zeros((len(maps), *maps.shape), np.float32)
    correlation[a, b] = of_pairs
    correlation[b, a] = np.roll(of_pairs[:, ::-1, ::-1], 1, axis=(1, 2))  # at the opposite shift
    correlation[range(len(maps)), range(len(maps)), 0, 0] = 1
    return correlation


def _fit_by_others(correlation: NDArray[np.float32], judged: int) -> NDArray[np.float32]:
    """Return S x S: the share of a channel's variance that the others explain at each shift.

    R^2 = r' G^-1 r, where r holds the correlations with the others at that shift, and G those of
    the others with each other, which do not depend on the shift.
    """
    others = [n for n in range(len(correlation)) if n != judged]
    gram = correlation[:, :, 0, 0][np.ix_(others, others)]
    inverse = np.linalg.inv(gram + RIDGE * np.eye(len(others), dtype=np.float32))
    r = correlation[others, judged].reshape(len(others), -1)
    return np.asarray((r * (inverse @ r)).sum(axis=0).reshape(SIDE_PX, SIDE_PX), np.float32)


@cache
def _displaced() -> NDArray[np.bool_]:
    """Return which circular shifts, S x S, are displaced places."""
    shift = np.fft.fftfreq(SIDE_PX)
    return np.asarray(np.hypot(shift[:, None], shift[None, :]) >= OTHER_PLACE)
