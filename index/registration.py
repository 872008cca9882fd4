"""Laying one field over another: which of the 8 flips and turns, which scale, which shift.

Template matching finds the coarse place (its normalised correlation over every shift is exact),
OpenCV's enhanced correlation coefficient (Evangelidis & Psarakis 2008,
findTransformECC) refines it to a sub-pixel affine map. Axes: C channels, H rows, W columns.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.edits import turned
from index.settings import RegistrationSettings
from index.template_matching import Templates, best_shifts, templates

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
    """Whether a field, or one channel of it, shows nothing that could be recognised."""
    _, std = cv2.meanStdDev(banded.reshape(-1, banded.shape[-1]))  # ten times as quick as numpy's
    return float(std[0, 0]) < settings.blank_below


@dataclass(frozen=True, kw_only=True)
class Window:
    """The middle of one turn of a query, of one shape, at search_px.

    zoom_yx: query pixels for one of the reference; margin_yx: pixels cut off on each side, as room
    for a shift.
    """

    turn: int
    zoom_yx: tuple[float, float]
    margin_yx: tuple[int, int]
    pixels: FloatArray


class Place(NamedTuple):
    """Where a window fits best: correlation and upper left corner, at search_px."""

    score: float
    window: Window
    x: int
    y: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """A band-passed query with its windows, which every reference is asked for in turn.

    templates: None of a blank query.
    """

    banded: FloatArray
    windows: tuple[Window, ...]
    templates: Templates | None


def prepare(banded: FloatArray, settings: RegistrationSettings) -> Query:
    """All turns and window shapes of a band-passed query, C x size x size; none of a blank one."""
    if is_blank(banded, settings):
        return Query(banded=banded, windows=(), templates=None)
    turns = [(number, _searched(_turned(banded, number), settings)) for number in range(8)]
    windows = [
        _window(flat, number, shape) for number, flat in turns for shape in settings.window_shapes
    ]
    matched = templates([window.pixels for window in windows], settings.search_px)
    return Query(banded=banded, windows=tuple(windows), templates=matched)


def register(query: Query, reference: FloatArray, settings: RegistrationSettings) -> Registration:
    """The best place of a query over a band-passed reference, C x size x size.

    A blank field matches nothing: evidence -1.
    """
    if query.templates is None or is_blank(reference, settings):
        return NOTHING
    score_W, x_W, y_W = best_shifts(query.templates, _searched(reference, settings))
    first = np.argsort(-score_W, kind="stable")[: settings.refined_places]
    places = [Place(float(score_W[n]), query.windows[n], int(x_W[n]), int(y_W[n])) for n in first]
    best = [_refined(query.banded, reference, place, settings) for place in places]
    return max(best, key=lambda registration: registration.evidence)


def _turned(banded: FloatArray, number: int) -> FloatArray:
    return np.asarray(turned(banded, number), np.float32)  # type: ignore[arg-type]


def _composite(banded: FloatArray) -> FloatArray:
    """All channels as one image, so that alignment costs the same for any number of them."""
    return np.asarray(np.ascontiguousarray(banded.sum(axis=0)), np.float32)


def _searched(banded: FloatArray, settings: RegistrationSettings) -> FloatArray:
    return _resized(_composite(banded), settings.search_px, settings.search_px)


def _resized(plane: FloatArray, height: int, width: int) -> FloatArray:
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _window(flat: FloatArray, number: int, shape: tuple[float, float]) -> Window:
    side = len(flat)
    height, width = (round(side * share) for share in shape)
    top, left = (max(0, round(side * 0.05) - (side - length) // 2) for length in (height, width))
    inner = _resized(flat, height, width)[top : height - top, left : width - left]
    return Window(
        turn=number,
        zoom_yx=(side / height, side / width),
        margin_yx=(top, left),
        pixels=np.ascontiguousarray(inner),
    )


def _warp(place: Place, settings: RegistrationSettings) -> FloatArray:
    """From pixels of the reference to those of the whole turned query, 2 x 3, at size_px."""
    larger = settings.size_px / settings.search_px
    middle = (larger - 1) / 2  # of the pixels that one pixel was made of
    (zoom_y, zoom_x), (top, left) = place.window.zoom_yx, place.window.margin_yx
    shift_x = (larger * (left - place.x) - middle) * zoom_x + middle
    shift_y = (larger * (top - place.y) - middle) * zoom_y + middle
    return np.array([[zoom_x, 0, shift_x], [0, zoom_y, shift_y]], np.float32)


def _refined(
    query: FloatArray, reference: FloatArray, place: Place, settings: RegistrationSettings
) -> Registration:
    turn, coarse = place.window.turn, _warp(place, settings)
    laid = _turned(query, turn)

    def at(warp_23: FloatArray) -> Registration:
        evidence = overlap_correlation(laid, reference, warp_23, settings)
        return Registration(evidence=evidence, turn=turn, warp_23=warp_23)

    found = at(coarse)
    if place.score < settings.refined_from:
        return found
    flat_reference = _composite(reference)
    everywhere = np.ones(flat_reference.shape, np.uint8)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, warp = cv2.findTransformECC(
            flat_reference, _composite(laid), coarse.copy(), cv2.MOTION_AFFINE, stop, everywhere, 3
        )
    except cv2.error:  # it did not converge; the coarse place stands
        return found
    finer = at(np.asarray(warp, np.float32))
    return finer if finer.evidence > found.evidence else found


def overlap_correlation(
    laid: FloatArray, reference: FloatArray, warp_23: FloatArray, settings: RegistrationSettings
) -> float:
    """Correlation over all channels of the pixels that both fields show; -1 for too few.

    Each channel loses its mean on its own; channels weigh by their contrast. One that is blank in
    either field says nothing about the other, and does not count.
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
        if is_blank(plane, settings) or is_blank(other, settings):
            continue
        a = cv2.warpAffine(plane, warp_23, (side, side), flags=flags)[seen]
        b = other[seen]
        a, b = a - a.mean(), b - b.mean()
        product += float(a @ b)
        query_power += float(a @ a)
        reference_power += float(b @ b)
    power = np.sqrt(query_power * reference_power)
    return float(np.clip(product / power, -1.0, 1.0)) if power > 0 else -1.0
