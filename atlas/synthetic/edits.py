"""Planted edits: what happens to an image on its way to a second copy.

Every edit is a pure function of (image, rng): image is uint8 C x H x W of any C from 1 on and any
size from 32 px, square or not; the result is a new array of the same shape.
"""

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
Edit: TypeAlias = Callable[[Image, np.random.Generator], Image]

ALL_TURNS = range(1, 8)
SHAPE_KEEPING_TURNS = (2, 4, 6)


def plant(image: Image, name: str, rng: np.random.Generator) -> Image:
    """An edited copy of `image`, uint8 C x H x W, by its name in `EDITS` or `HARD_EDITS`.

    Raises KeyError for any other name.
    """
    return (EDITS | HARD_EDITS)[name](image, rng)


def rotated(image: Image, element: int) -> Image:
    """One of the 8 flips and rotations: `element % 4` quarter rotations, then mirrored if at least 4."""
    quarter = np.rot90(image, element % 4, axes=(1, 2))
    return np.ascontiguousarray(quarter[:, :, ::-1] if element >= 4 else quarter)


def exact(image: Image, rng: np.random.Generator) -> Image:
    return image.copy()


def d4(image: Image, rng: np.random.Generator) -> Image:
    """A flip or rotation that is not the identity; where H != W only those that keep the shape."""
    square = image.shape[1] == image.shape[2]
    return rotated(image, int(rng.choice(ALL_TURNS if square else SHAPE_KEEPING_TURNS)))


def jpeg(image: Image, rng: np.random.Generator) -> Image:
    return through_jpeg(image, int(rng.integers(30, 76)))


def gamma(image: Image, rng: np.random.Generator) -> Image:
    """Brightness to the power .65 to 1.6; darkening is as likely as brightening."""
    powers = (0.65, 1.0) if rng.random() < 0.5 else (1.0, 1.6)
    return to_the_power(image, rng.uniform(*powers))


def rescale(image: Image, rng: np.random.Generator) -> Image:
    """Shrunk to .45 to .75 of its side and enlarged again."""
    return shrunk_and_back(image, rng.uniform(0.45, 0.75))


def crop(image: Image, rng: np.random.Generator) -> Image:
    return cropped(image, rng.uniform(0.8, 0.93), rng)


def noise(image: Image, rng: np.random.Generator) -> Image:
    """Gaussian noise of 4 to 12 counts of 255."""
    return with_noise(image, rng.uniform(4, 12), rng)


def mixed(image: Image, rng: np.random.Generator) -> Image:
    """A flip or rotation, a crop, a gamma and a JPEG, one after another."""
    window = cropped(d4(image, rng), rng.uniform(0.88, 0.95), rng)
    return through_jpeg(gamma(window, rng), 70)


def brighter(image: Image, rng: np.random.Generator) -> Image:
    """A longer exposure: 1.1 to 1.5 times as bright, cut off at white."""
    gain = np.float32(rng.uniform(1.1, 1.5))
    return np.asarray(np.minimum(np.rint(image * gain), 255), dtype=np.uint8)


def close_crop(image: Image, rng: np.random.Generator) -> Image:
    return cropped(image, rng.uniform(0.6, 0.8), rng)


def strip(image: Image, rng: np.random.Generator) -> Image:
    """A window of .6 to .8 of the field along one axis only, stretched to the whole."""
    window = window_along(image, rng.uniform(0.6, 0.8), int(rng.integers(1, 3)), rng)
    return resized(window, *image.shape[1:])


def coarse_jpeg(image: Image, rng: np.random.Generator) -> Image:
    return through_jpeg(image, int(rng.integers(10, 31)))


def scale_bar(image: Image, rng: np.random.Generator) -> Image:
    return with_scale_bar(image, rng.uniform(0.15, 0.25), int(rng.integers(4)))


def blank_channel(image: Image, rng: np.random.Generator) -> Image:
    """One of several channels is lost. Raises ValueError for an image of a single one."""
    if len(image) == 1:
        raise ValueError("an image of one channel without it is no copy")
    return without_channel(image, int(rng.integers(len(image))))


def through_jpeg(image: Image, quality: int) -> Image:
    """Encoded at this quality of 1 to 100 and decoded again."""
    # Each channel on its own: a JPEG of stacked stains would mix them in its chroma.
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    encoded = [cv2.imencode(".jpg", np.ascontiguousarray(plane), options)[1] for plane in image]
    planes = [cv2.imdecode(code, cv2.IMREAD_GRAYSCALE) for code in encoded]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes])


def to_the_power(image: Image, power: float) -> Image:
    """Brightness, white being 1, to this power."""
    curve = 255 * (np.arange(256) / 255) ** power
    return np.asarray(np.rint(curve).astype(np.uint8)[image])


def with_noise(image: Image, counts: float, rng: np.random.Generator) -> Image:
    """With Gaussian noise of this standard deviation, in counts of 255."""
    noisy = image + rng.normal(0, counts, image.shape)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


def shrunk_and_back(image: Image, share: float) -> Image:
    """Shrunk to this share of each side and enlarged again."""
    height, width = (round(side * share) for side in image.shape[1:])
    return resized(resized(image, height, width), *image.shape[1:])


def cropped(image: Image, share: float, rng: np.random.Generator) -> Image:
    """A window of `share` of each side at a random place, enlarged to the whole."""
    height, width = (round(side * share) for side in image.shape[1:])
    top = int(rng.integers(image.shape[1] - height + 1))
    left = int(rng.integers(image.shape[2] - width + 1))
    return resized(image[:, top : top + height, left : left + width], *image.shape[1:])


def window_along(image: Image, share: float, axis: int, rng: np.random.Generator) -> Image:
    """A window of `share` along axis 1 (rows) or 2 (columns) at a random place, as it is."""
    length = round(image.shape[axis] * share)
    start = int(rng.integers(image.shape[axis] - length + 1))
    return np.ascontiguousarray(np.take(image, np.arange(start, start + length), axis=axis))


def with_scale_bar(image: Image, share: float, corner: int) -> Image:
    """A white bar of `share` of the width, with a caption, in corner 0..3, over all channels."""
    height, width = image.shape[1:]
    length, thick, edge = round(width * share), max(2, height // 64), max(2, height // 32)
    left = edge if corner % 2 == 0 else width - edge - length
    top = 4 * edge if corner < 2 else height - edge - thick
    pasted = [np.ascontiguousarray(plane) for plane in image.copy()]
    for plane in pasted:
        cv2.rectangle(plane, (left, top), (left + length, top + thick - 1), 255, cv2.FILLED)
        caption = (left, top - edge // 2), cv2.FONT_HERSHEY_SIMPLEX, height / 600, 255
        cv2.putText(plane, "20 um", *caption)
    return np.stack(pasted)


def without_channel(image: Image, channel: int) -> Image:
    dark = image.copy()
    dark[channel] = 0
    return dark


def resized(image: Image, height: int, width: int) -> Image:
    """By area where the height shrinks, cubic where it does not."""
    how = cv2.INTER_AREA if height < image.shape[1] else cv2.INTER_CUBIC
    planes = [
        cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=how)
        for plane in image
    ]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes])


EDITS: dict[str, Edit] = {
    "exact": exact,
    "d4": d4,
    "jpeg": jpeg,
    "gamma": gamma,
    "rescale": rescale,
    "crop": crop,
    "noise": noise,
    "mixed": mixed,
    "brighter": brighter,
}

# What copies went through that are hard to recognise.
HARD_EDITS: dict[str, Edit] = {
    "close_crop": close_crop,
    "strip": strip,
    "coarse_jpeg": coarse_jpeg,
    "scale_bar": scale_bar,
    "blank_channel": blank_channel,
}
