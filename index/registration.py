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


@dataclass(frozen=True, kw_only=True)
class Window:
    """The middle of one turn of a query at one scale. zoom, margin: back to the whole of it."""

    turn: int
    zoom: float
    margin: int
    pixels: FloatArray


@dataclass(frozen=True, kw_only=True)
class Query:
    """A band-passed query with its windows, which every reference is asked for in turn."""

    banded: FloatArray
    windows: tuple[Window, ...]


def prepare(banded: FloatArray, settings: RegistrationSettings) -> Query:
    """All turns and scales of a band-passed query, C x size x size; none of a blank one."""
    if is_blank(banded, settings):
        return Query(banded=banded, windows=())
    turns = [(number, _composite(_turned(banded, number))) for number in range(8)]
    windows = [
        _window(flat, number, s, settings) for number, flat in turns for s in settings.scales
    ]
    return Query(banded=banded, windows=tuple(windows))


def register(query: Query, reference: FloatArray, settings: RegistrationSettings) -> Registration:
    """The best place of a query over a band-passed reference, C x size x size.

    A blank field matches nothing: evidence -1.
    """
    if not query.windows or is_blank(reference, settings):
        return NOTHING
    flat_reference = _composite(reference)
    best_of_turn: dict[int, tuple[float, int, FloatArray]] = {}
    for window in query.windows:
        place = _coarse_place(window, flat_reference)
        if window.turn not in best_of_turn or place[0] > best_of_turn[window.turn][0]:
            best_of_turn[window.turn] = place
    places = sorted(best_of_turn.values(), key=lambda place: -place[0])
    best = [
        _refined(query.banded, reference, flat_reference, place, settings)
        for place in places[: settings.refined_turns]
    ]
    return max(best, key=lambda registration: registration.evidence)


def _turned(banded: FloatArray, number: int) -> FloatArray:
    return np.asarray(turned(banded, number), np.float32)  # type: ignore[arg-type]


def _composite(banded: FloatArray) -> FloatArray:
    """All channels as one image, so that alignment costs the same for any number of them."""
    return np.asarray(np.ascontiguousarray(banded.sum(axis=0)), np.float32)


def _window(
    flat_query: FloatArray, number: int, scale: float, settings: RegistrationSettings
) -> Window:
    side = settings.size_px
    shown = round(side * scale)
    margin = max(0, round(side * 0.05) - (side - shown) // 2)  # room for a shift at full scale
    pixels = cv2.resize(flat_query, (shown, shown), interpolation=cv2.INTER_AREA)
    inner = np.ascontiguousarray(pixels[margin : shown - margin, margin : shown - margin])
    return Window(
        turn=number, zoom=side / shown, margin=margin, pixels=np.asarray(inner, np.float32)
    )


def _coarse_place(window: Window, flat_reference: FloatArray) -> tuple[float, int, FloatArray]:
    """Best correlation of this window over all shifts, its turn, and the warp."""
    scores = cv2.matchTemplate(flat_reference, window.pixels, cv2.TM_CCOEFF_NORMED)
    _, score, _, (x, y) = cv2.minMaxLoc(scores)
    zoom, margin = window.zoom, window.margin
    warp = [[zoom, 0, (margin - x) * zoom], [0, zoom, (margin - y) * zoom]]
    return score, window.turn, np.array(warp, np.float32)


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
