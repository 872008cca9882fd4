"""Edits of the hardness `wild`: what people do to pictures when they make figures of them.

An edit is a pure function of (image, others, rng). The image is uint8 C x H x W, and `others` are
as many images of other things as `OTHERS` says, with as many channels and of any size. The result
is a new image of the shape of the first one, and the values that were drawn, by name. Shares refer
to a side, if nothing else is said.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.synthetic.edits import Image, resized, through_jpeg
from benchmarks.leaks.edits import RANGES, Edited, Said
from benchmarks.leaks.edits import blur as out_of_focus

CROP = (0.3, 0.6)
SCALE = (0.4, 0.7)  # of a labelled image that is a part of the query
OVERLAP = (0.5, 0.8)  # share of the area
MOVED = 0.12  # the most by which perspective moves a corner, along each axis
COVERED = (0.2, 0.4)  # the largest share of the area that regions cover
REGION = (0.15, 0.4)
REGIONS_TRIED = 30
ON_SCREEN = (0.6, 0.85)
BACKGROUND, TITLE_BAR, TITLE_BAR_SHARE = (30, 255), 60, 1 / 24
SCREEN_QUALITY = 75
WHITE = 255
# What is left of an image shows something if its contrast is this share of the image's.
SHOWS_FROM, REDRAWS = 0.25, 20

WildEdit: TypeAlias = Callable[[Image, Sequence[Image], np.random.Generator], Edited]


def any_rotation(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Rotate by any angle, after mirroring every second image; the corners are black."""
    degrees, mirrored = rng.uniform(0, 360), int(rng.integers(2))
    height, width = image.shape[1:]
    map_23 = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    laid = _warped(image[:, :, ::-1] if mirrored else image, np.vstack([map_23, [0, 0, 1]]))
    return laid, {"degrees": degrees, "mirrored": mirrored}


def small_crop(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Crop a small window, and enlarge it."""

    def draw() -> tuple[Image, Edited]:
        share = rng.uniform(*CROP)
        window = _cut(image, _box(image, (share, share), rng))
        return window, (resized(window, *image.shape[1:]), {"crop": share})

    return _showing_something(image, draw)


def reference_cropped(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Show more than the labelled image does: it is a part of another image."""
    scale = rng.uniform(*SCALE)
    box = _box(image, (scale, scale), rng)
    whole = _fitted(others[0], image)
    _cut(whole, box)[:] = resized(image, *_sides(box))
    return whole, {"scale": scale}


def overlap(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Shift the field; another image is in the place of what the labelled image does not show.

    The shift is along an axis, or along both of them.
    """

    def draw() -> tuple[Image, Edited]:
        share, along = rng.uniform(*OVERLAP), rng.uniform()
        kept = share**along, share ** (1 - along)
        signs = rng.choice([-1, 1], 2)
        down, right = (
            int(sign * round((1 - part) * side))
            for sign, part, side in zip(signs, kept, image.shape[1:], strict=True)
        )
        shown = _cut(image, (_before(down), _before(right)))
        field = _fitted(others[0], image)
        _cut(field, (_after(down), _after(right)))[:] = shown
        return shown, (field, {"overlap": share, "down": down, "right": right})

    return _showing_something(image, draw)


def perspective(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Move each corner, as in a picture of a page that is taken from the side."""
    height, width = image.shape[1:]
    sides = np.array([width - 1, height - 1], np.float32)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    moved = rng.uniform(-MOVED, MOVED, (4, 2)).astype(np.float32)
    map_33 = cv2.getPerspectiveTransform(corners * sides, (corners + moved) * sides)
    names = [f"{axis}{corner}" for corner in range(4) for axis in "xy"]
    said = dict(zip(names, map(float, moved.ravel()), strict=True))
    return _warped(image, map_33), said


def painted(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Cover regions, half of them with a flat colour and half with what another image shows."""
    other = _fitted(others[0], image)

    def draw() -> tuple[Image, Edited]:
        most, regions = rng.uniform(*COVERED), 0
        made, covered = image.copy(), np.zeros((1, *image.shape[1:]), bool)
        for _ in range(REGIONS_TRIED):
            box = _box(image, (rng.uniform(*REGION), rng.uniform(*REGION)), rng)
            more = covered.copy()
            _cut(more, box)[:] = True
            if more.mean() > most:
                continue
            flat = rng.integers(0, WHITE + 1, (len(image), 1, 1))
            _cut(made, box)[:] = flat if rng.random() < 0.5 else _cut(other, box)
            covered, regions = more, regions + 1
        said: Said = {"covered": float(covered.mean()), "regions": regions}
        return image[:, ~covered[0]][:, None], (made, said)

    return _showing_something(image, draw)


def collage(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Make one picture of four images; `place` is 0 to 3, row by row."""
    place, (height, width) = int(rng.integers(4)), image.shape[1:]
    pictures = [*others[:place], image, *others[place:]]
    made, top, left = np.empty_like(image), slice(height // 2), slice(width // 2)
    bottom, right = slice(height // 2, height), slice(width // 2, width)
    boxes = [(rows, columns) for rows in (top, bottom) for columns in (left, right)]
    for picture, box in zip(pictures, boxes, strict=True):
        part = _cut(made, box)
        part[:] = resized(picture, *part.shape[1:])
    return made, {"place": place}


def blur(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Blur as the hardness `hard` does."""
    return out_of_focus(image, rng, RANGES["hard"])


def inversion(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Make a negative."""
    return np.asarray(WHITE - image, np.uint8), {}


def permuted_channels(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Put channels in another order; `c0` is the number of the channel that becomes the first."""
    order = rng.permutation(len(image))
    while (order == np.arange(len(image))).all():
        order = rng.permutation(len(image))
    return image[order], {f"c{n}": int(channel) for n, channel in enumerate(order)}


def screenshot(image: Image, others: Sequence[Image], rng: np.random.Generator) -> Edited:
    """Show the image on a screen: smaller, on a flat background, below a title bar, as a JPEG."""
    scale, level = rng.uniform(*ON_SCREEN), int(rng.integers(*BACKGROUND, endpoint=True))
    bar = max(2, round(image.shape[1] * TITLE_BAR_SHARE))
    screen = np.full_like(image, level)
    screen[:, :bar] = TITLE_BAR
    below = screen[:, bar:]
    height, width = (round(side * scale) for side in image.shape[1:])
    top = int(rng.integers(below.shape[1] - height + 1))
    left = int(rng.integers(below.shape[2] - width + 1))
    below[:, top : top + height, left : left + width] = resized(image, height, width)
    return through_jpeg(screen, SCREEN_QUALITY), {"scale": scale, "level": level}


def wild_edits_of(channels: int) -> tuple[WildEdit, ...]:
    """Return the edits that images of so many channels can take."""
    return tuple(edit for edit in WILD if channels > 1 or edit not in NEEDS_CHANNELS)


WILD: tuple[WildEdit, ...] = (
    any_rotation, small_crop, reference_cropped, overlap, perspective, painted, collage, blur,
    inversion, permuted_channels, screenshot,
)  # fmt: skip
NEEDS_CHANNELS: tuple[WildEdit, ...] = (permuted_channels,)
OTHERS: dict[WildEdit, int] = {reference_cropped: 1, overlap: 1, painted: 1, collage: 3}

Box: TypeAlias = tuple[slice, slice]
Value = TypeVar("Value", bound=np.generic)


def _showing_something(image: Image, draw: Callable[[], tuple[Image, Edited]]) -> Edited:
    """Draw again, a few times, if what is left of the image shows nothing."""
    for _ in range(1 + REDRAWS):
        left, edited = draw()
        if _contrast(left) >= SHOWS_FROM * _contrast(image):
            break
    return edited


def _contrast(image: Image) -> float:
    return float(image.std(axis=(1, 2)).mean())


def _box(image: Image, shares: tuple[float, float], rng: np.random.Generator) -> Box:
    """Return the rows and columns of a window at a random place."""
    slices = []
    for side, share in zip(image.shape[1:], shares, strict=True):
        length = max(1, round(side * share))
        start = int(rng.integers(side - length + 1))
        slices.append(slice(start, start + length))
    return slices[0], slices[1]


def _sides(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def _cut(image: NDArray[Value], box: Box) -> NDArray[Value]:
    """Return a view of a window."""
    return image[:, box[0], box[1]]


def _before(shift: int) -> slice:
    """Return the places that a shift leaves within the image, before it."""
    return slice(max(0, -shift), -shift if shift > 0 else None)


def _after(shift: int) -> slice:
    """Return where these places are after the shift."""
    return _before(-shift)


def _fitted(other: Image, image: Image) -> Image:
    """Return another image with the shape of an image, as a new array."""
    return resized(other, *image.shape[1:])


def _warped(image: Image, map_33: NDArray[Any]) -> Image:
    """Return an image in a picture of its own size; what it does not show is black."""
    size = image.shape[2], image.shape[1]
    planes = [
        cv2.warpPerspective(np.ascontiguousarray(plane), map_33, size, flags=cv2.INTER_LINEAR)
        for plane in image
    ]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes])
