"""Laying one field over another: which of the 8 flips and turns, which scale, which shift.

OpenCV does the work: template matching finds the coarse place (its normalised correlation over
every shift is exact), the enhanced correlation coefficient (Evangelidis & Psarakis 2008,
findTransformECC) refines it to a sub-pixel affine map. Axes: C channels, H rows, W columns.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.edits import turned
from index.settings import RegistrationSettings

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a query lies over a reference.

    evidence: correlation of the overlapping band-passed pixels over all channels, -1..1.
    turn: number 0..7 of the flip or turn that was applied to the query first.
    warp_23: affine map from pixels of the reference to those of the turned query, at size_px.
    """

    evidence: float
    turn: int
    warp_23: FloatArray


NOTHING = Registration(evidence=-1.0, turn=0, warp_23=np.eye(2, 3, dtype=np.float32))


def band_passed(field: NDArray[np.uint8], settings: RegistrationSettings) -> FloatArray:
    """A field ready to compare, float32 C x size x size.

    The root makes the noise of photon counts the same everywhere (Anscombe 1948) and tempers
    gamma changes; the band-pass takes away shading above and pixel noise below.
    """
    side = settings.size_px
    planes = []
    for plane in field:
        small = cv2.resize(plane.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        root = np.sqrt(small)
        fine = cv2.GaussianBlur(root, (0, 0), settings.fine_px)
        planes.append(fine - cv2.GaussianBlur(root, (0, 0), settings.coarse_px))
    return np.stack(planes).astype(np.float32)


def is_blank(banded: FloatArray, settings: RegistrationSettings) -> bool:
    """Whether a field shows nothing that could be recognised."""
    return bool(banded.std() < settings.blank_below)


def register(
    query: FloatArray, reference: FloatArray, settings: RegistrationSettings
) -> Registration:
    """The best place of a query over a reference, both band-passed, C x size x size.

    A blank field matches nothing: evidence -1.
    """
    if is_blank(query, settings) or is_blank(reference, settings):
        return NOTHING
    flat_reference = _composite(reference)
    places = [
        _coarse_place(_composite(_turned(query, number)), flat_reference, number, settings)
        for number in range(8)
    ]
    places.sort(key=lambda place: -place[0])
    best = [
        _refined(query, reference, flat_reference, place, settings)
        for place in places[: settings.refined_turns]
    ]
    return max(best, key=lambda registration: registration.evidence)


def _turned(banded: FloatArray, number: int) -> FloatArray:
    return np.asarray(turned(banded, number), np.float32)  # type: ignore[arg-type]


def _composite(banded: FloatArray) -> FloatArray:
    """All channels as one image, so that alignment costs the same for any number of them."""
    return np.asarray(np.ascontiguousarray(banded.sum(axis=0)), np.float32)


def _coarse_place(
    query: FloatArray, reference: FloatArray, number: int, settings: RegistrationSettings
) -> tuple[float, int, FloatArray]:
    """Best correlation of this turn of the query over scales and shifts, and its warp."""
    side = settings.size_px
    best: tuple[float, int, FloatArray] = (-2.0, number, NOTHING.warp_23)
    for scale in settings.scales:
        shown = round(side * scale)
        margin = max(0, round(side * 0.05) - (side - shown) // 2)  # room for a shift at full scale
        window = cv2.resize(query, (shown, shown), interpolation=cv2.INTER_AREA)
        window = np.ascontiguousarray(window[margin : shown - margin, margin : shown - margin])
        scores = cv2.matchTemplate(reference, window, cv2.TM_CCOEFF_NORMED)
        _, score, _, (x, y) = cv2.minMaxLoc(scores)
        if score > best[0]:
            zoom = side / shown
            warp = [[zoom, 0, (margin - x) * zoom], [0, zoom, (margin - y) * zoom]]
            best = (score, number, np.array(warp, np.float32))
    return best


def _refined(
    query: FloatArray,
    reference: FloatArray,
    flat_reference: FloatArray,
    place: tuple[float, int, FloatArray],
    settings: RegistrationSettings,
) -> Registration:
    score, number, warp = place
    laid = _turned(query, number)
    found = Registration(
        evidence=overlap_correlation(laid, reference, warp, settings), turn=number, warp_23=warp
    )
    if score < settings.refined_from:
        return found
    everywhere = np.ones(flat_reference.shape, np.uint8)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, found_warp = cv2.findTransformECC(
            flat_reference, _composite(laid), warp.copy(), cv2.MOTION_AFFINE, stop, everywhere, 3
        )
    except cv2.error:  # it did not converge; the coarse place stands
        return found
    finer = np.asarray(found_warp, np.float32)
    evidence = overlap_correlation(laid, reference, finer, settings)
    if evidence <= found.evidence:
        return found
    return Registration(evidence=evidence, turn=number, warp_23=finer)


def overlap_correlation(
    laid: FloatArray, reference: FloatArray, warp_23: FloatArray, settings: RegistrationSettings
) -> float:
    """Correlation over all channels of the pixels that both fields show; -1 for too few.

    Each channel loses its mean on its own; channels weigh by their contrast.
    """
    side = settings.size_px
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    inside = cv2.warpAffine(np.ones((side, side), np.float32), warp_23, (side, side), flags=flags)
    edge = side // 32  # the band-pass mirrors at the border, and a crop has another border
    seen = np.zeros((side, side), bool)
    seen[edge : side - edge, edge : side - edge] = True
    seen &= inside > 0.99
    if seen.sum() < settings.least_overlap * side * side:
        return -1.0
    product = query_power = reference_power = 0.0
    for plane, other in zip(laid, reference, strict=True):
        a = cv2.warpAffine(plane, warp_23, (side, side), flags=flags)[seen]
        b = other[seen]
        a, b = a - a.mean(), b - b.mean()
        product += float(a @ b)
        query_power += float(a @ a)
        reference_power += float(b @ b)
    power = np.sqrt(query_power * reference_power)
    return float(np.clip(product / power, -1.0, 1.0)) if power > 0 else -1.0
