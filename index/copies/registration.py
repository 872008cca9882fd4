"""Registration: which of the 8 flips and rotations, which scale and which shift align two fields.

Template matching finds the coarse place (its normalised correlation over all shifts is exact), and
OpenCV's enhanced correlation coefficient (Evangelidis & Psarakis 2008, findTransformECC) refines it
to a sub-pixel affine map. Axes: C channels, H rows, W columns, K references, R places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.synthetic.edits import rotated
from index.copies.template_matching import Templates, best_shifts, templates
from index.settings import RegistrationSettings

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The best alignment of a query with a reference.

    Attributes:
        registration_score: The correlation of the overlapping band-passed pixels over all channels,
            -1 to 1.
        rotation: The number (0 to 7) of the flip or rotation that is applied to the query first.
        warp_23: The affine map from pixels of the reference to those of the rotated query, at
            size_px.
    """

    registration_score: float
    rotation: int
    warp_23: FloatArray


NOTHING = Registration(registration_score=-1.0, rotation=0, warp_23=np.eye(2, 3, dtype=np.float32))


def band_passed(field: NDArray[np.uint8], settings: RegistrationSettings) -> FloatArray:
    """Return a field that is ready to be compared, float32 C x size x size.

    The square root makes the noise of photon counts uniform (Anscombe 1948) and dampens gamma
    changes. The band-pass removes shading and pixel noise.
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
    """Return whether a field, or one channel of it, shows nothing that could be recognised."""
    _, std = cv2.meanStdDev(banded.reshape(-1, banded.shape[-1]))  # ten times as quick as numpy's
    return float(std[0, 0]) < settings.blank_below


@dataclass(frozen=True, kw_only=True)
class Window:
    """The middle of one rotation of a query, in one shape, at search_px.

    Attributes:
        rotation: The number of the flip or rotation.
        zoom_yx: The number of query pixels for one pixel of the reference.
        margin_yx: The number of pixels that are removed on each side, as room for a shift.
        pixels: The window.
    """

    rotation: int
    zoom_yx: tuple[float, float]
    margin_yx: tuple[int, int]
    pixels: FloatArray


class Place(NamedTuple):
    """The place where a window fits best: correlation and upper left corner, at search_px."""

    score: float
    window: Window
    x: int
    y: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """A band-passed query with the windows that are matched with every reference.

    Attributes:
        rotations: The query in each of its flips and rotations, C x size x size.
        shown_C: Whether the channel is not blank.
        windows: The windows.
        templates: The windows, prepared for template matching; None if the query is blank.
    """

    rotations: tuple[FloatArray, ...]
    shown_C: NDArray[np.bool_]
    windows: tuple[Window, ...]
    templates: Templates | None


def prepare(banded: FloatArray, settings: RegistrationSettings) -> Query:
    """Return a query with all rotations and window shapes; a blank query has none.

    Args:
        banded: The band-passed query, C x size x size.
        settings: The settings of the registration.
    """
    shown_C = _shown(banded, settings)
    if is_blank(banded, settings):
        return Query(rotations=(), shown_C=shown_C, windows=(), templates=None)
    rotations = tuple(_rotated(banded, number) for number in range(8))
    windows = [
        _window(flat, number, shape)
        for number, flat in enumerate(_searched(laid, settings) for laid in rotations)
        for shape in settings.window_shapes
    ]
    matched = templates([window.pixels for window in windows], settings.search_px)
    return Query(rotations=rotations, shown_C=shown_C, windows=tuple(windows), templates=matched)


def register(query: Query, reference: FloatArray, settings: RegistrationSettings) -> Registration:
    """Return the best alignment of a query with a band-passed reference, C x size x size.

    A blank field matches nothing: its registration score is -1.
    """
    return register_all(query, [reference], settings)[0]


def register_all(
    query: Query, references: Sequence[FloatArray], settings: RegistrationSettings
) -> list[Registration]:
    """Register a query with each of several references, which is quicker than one by one.

    See `register`.
    """
    found = [NOTHING] * len(references)
    showing = [n for n, reference in enumerate(references) if not is_blank(reference, settings)]
    if query.templates is None or not showing:
        return found
    searched = np.stack([_searched(references[n], settings) for n in showing])
    score_KW, x_KW, y_KW = best_shifts(query.templates, searched)
    first_KR = np.argsort(-score_KW, axis=1, kind="stable")[:, : settings.refined_places]
    for k, n in enumerate(showing):
        places = [
            Place(float(score_KW[k, w]), query.windows[w], int(x_KW[k, w]), int(y_KW[k, w]))
            for w in first_KR[k]
        ]
        shown_C = query.shown_C & _shown(references[n], settings)
        best = [_refined(query, references[n], shown_C, place, settings) for place in places]
        found[n] = max(best, key=lambda registration: registration.registration_score)
    return found


def _shown(banded: FloatArray, settings: RegistrationSettings) -> NDArray[np.bool_]:
    return np.array([not is_blank(plane, settings) for plane in banded], bool)


def _rotated(banded: FloatArray, number: int) -> FloatArray:
    return np.asarray(rotated(banded, number), np.float32)  # type: ignore[arg-type]


def _composite(banded: FloatArray) -> FloatArray:
    # All channels become one image, so that alignment costs the same for any number of them.
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
        rotation=number,
        zoom_yx=(side / height, side / width),
        margin_yx=(top, left),
        pixels=np.ascontiguousarray(inner),
    )


def _warp(place: Place, settings: RegistrationSettings) -> FloatArray:
    """Return the map from reference pixels to pixels of the rotated query, 2 x 3, at size_px."""
    larger = settings.size_px / settings.search_px
    middle = (larger - 1) / 2  # the centre of the pixels that one pixel was made of
    (zoom_y, zoom_x), (top, left) = place.window.zoom_yx, place.window.margin_yx
    shift_x = (larger * (left - place.x) - middle) * zoom_x + middle
    shift_y = (larger * (top - place.y) - middle) * zoom_y + middle
    return np.array([[zoom_x, 0, shift_x], [0, zoom_y, shift_y]], np.float32)


def _refined(
    query: Query,
    reference: FloatArray,
    shown_C: NDArray[np.bool_],
    place: Place,
    settings: RegistrationSettings,
) -> Registration:
    rotation, coarse = place.window.rotation, _warp(place, settings)
    laid = query.rotations[rotation]
    compared, with_these = laid[shown_C], reference[shown_C]

    def at(warp_23: FloatArray) -> Registration:
        registration_score = overlap_correlation(compared, with_these, warp_23, settings)
        return Registration(
            registration_score=registration_score, rotation=rotation, warp_23=warp_23
        )

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
    except cv2.error:  # it did not converge, so the coarse place is kept
        return found
    finer = at(np.asarray(warp, np.float32))
    return finer if finer.registration_score > found.registration_score else found


def overlap_correlation(
    laid: FloatArray, reference: FloatArray, warp_23: FloatArray, settings: RegistrationSettings
) -> float:
    """Return the correlation over all channels of the pixels that both fields show; -1 for too few.

    The mean of each channel is subtracted, and channels weigh by their contrast. Leave out channels
    that are blank in either field, because they carry no information about the other.

    Args:
        laid: The rotated query, C x size x size.
        reference: The reference, C x size x size.
        warp_23: The affine map from pixels of the reference to those of the query.
        settings: The settings of the registration.
    """
    side = settings.size_px
    seen_P = _seen(warp_23, side).ravel().astype(np.float32)
    count = np.count_nonzero(seen_P)
    if not len(laid) or count < settings.least_overlap * side * side:
        return -1.0
    warped = [_warped(plane, warp_23) for plane in laid]
    # Pixels that are not compared become zero, which is three times as quick as selecting the rest.
    both = np.concatenate([warped, reference]).reshape(2 * len(laid), -1)
    both -= (both @ seen_P / count)[:, None]
    both *= seen_P
    a, b = both[: len(laid)].ravel(), both[len(laid) :].ravel()
    product, powers = float(a @ b), float(a @ a) * float(b @ b)
    return float(np.clip(product / np.sqrt(powers), -1.0, 1.0)) if powers > 0 else -1.0


def _warped(plane: FloatArray, warp_23: FloatArray) -> FloatArray:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, warp_23, plane.shape[::-1], flags=flags), np.float32)


def _seen(warp_23: FloatArray, side: int) -> NDArray[np.bool_]:
    seen = _warped(np.ones((side, side), np.float32), warp_23) > 0.99
    edge = side // 32  # the band-pass mirrors at the border, and a crop has another border
    seen[:edge] = seen[side - edge :] = seen[:, :edge] = seen[:, side - edge :] = False
    return seen
