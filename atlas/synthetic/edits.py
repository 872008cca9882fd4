"""Planted edits, which turn an image into a copy of it.

Every edit is a pure function of (image, rng). The image is uint8 C x H x W, with at least one
channel and 32 px, square or not. The result is a new array of the same shape.
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
    """Return an edited copy of an image.

    Args:
        image: The image, uint8 C x H x W.
        name: The name of an edit in `EDITS` or `HARD_EDITS`.
        rng: The random generator.

    Raises:
        KeyError: There is no edit with this name.
    """
    return (EDITS | HARD_EDITS)[name](image, rng)


def rotated(image: Image, element: int) -> Image:
    """Return one of the eight flips and rotations of an image.

    `element % 4` is the number of quarter rotations. Elements from 4 on are also mirrored.
    """
    quarter = np.rot90(image, element % 4, axes=(1, 2))
    return np.ascontiguousarray(quarter[:, :, ::-1] if element >= 4 else quarter)


def exact(image: Image, rng: np.random.Generator) -> Image:
    """Return an unchanged copy."""
    return image.copy()


def d4(image: Image, rng: np.random.Generator) -> Image:
    """Return a random flip or rotation, but not the identity.

    If H differs from W, only rotations that keep the shape are drawn.
    """
    square = image.shape[1] == image.shape[2]
    return rotated(image, int(rng.choice(ALL_TURNS if square else SHAPE_KEEPING_TURNS)))


def jpeg(image: Image, rng: np.random.Generator) -> Image:
    """Return the image after a JPEG with a quality of 30 to 75."""
    return through_jpeg(image, int(rng.integers(30, 76)))


def gamma(image: Image, rng: np.random.Generator) -> Image:
    """Raise the brightness to a power of 0.65 to 1.6.

    Darkening and brightening are equally likely.
    """
    powers = (0.65, 1.0) if rng.random() < 0.5 else (1.0, 1.6)
    return to_the_power(image, rng.uniform(*powers))


def rescale(image: Image, rng: np.random.Generator) -> Image:
    """Shrink the image to 0.45 to 0.75 of its side, and enlarge it again."""
    return shrunk_and_back(image, rng.uniform(0.45, 0.75))


def crop(image: Image, rng: np.random.Generator) -> Image:
    """Crop a window of 0.8 to 0.93 of each side, and enlarge it."""
    return cropped(image, rng.uniform(0.8, 0.93), rng)


def noise(image: Image, rng: np.random.Generator) -> Image:
    """Add Gaussian noise with a standard deviation of 4 to 12 gray levels."""
    return with_noise(image, rng.uniform(4, 12), rng)


def mixed(image: Image, rng: np.random.Generator) -> Image:
    """Apply a flip or rotation, a crop, a gamma and a JPEG one after the other."""
    window = cropped(d4(image, rng), rng.uniform(0.88, 0.95), rng)
    return through_jpeg(gamma(window, rng), 70)


def brighter(image: Image, rng: np.random.Generator) -> Image:
    """Simulate a longer exposure: 1.1 to 1.5 times the brightness, clipped at white."""
    gain = np.float32(rng.uniform(1.1, 1.5))
    return np.asarray(np.minimum(np.rint(image * gain), 255), dtype=np.uint8)


def close_crop(image: Image, rng: np.random.Generator) -> Image:
    """Crop a window of 0.6 to 0.8 of each side, and enlarge it."""
    return cropped(image, rng.uniform(0.6, 0.8), rng)


def strip(image: Image, rng: np.random.Generator) -> Image:
    """Crop a window of 0.6 to 0.8 of the image along one axis, and stretch it to the whole."""
    window = window_along(image, rng.uniform(0.6, 0.8), int(rng.integers(1, 3)), rng)
    return resized(window, *image.shape[1:])


def coarse_jpeg(image: Image, rng: np.random.Generator) -> Image:
    """Return the image after a JPEG with a quality of 10 to 30."""
    return through_jpeg(image, int(rng.integers(10, 31)))


def scale_bar(image: Image, rng: np.random.Generator) -> Image:
    """Draw a scale bar of 0.15 to 0.25 of the width in a random corner."""
    return with_scale_bar(image, rng.uniform(0.15, 0.25), int(rng.integers(4)))


def blank_channel(image: Image, rng: np.random.Generator) -> Image:
    """Blank one of several channels.

    Raises:
        ValueError: The image has a single channel.
    """
    if len(image) == 1:
        raise ValueError("cannot blank the only channel: an image of one channel would be black")
    return without_channel(image, int(rng.integers(len(image))))


def through_jpeg(image: Image, quality: int) -> Image:
    """Encode and decode an image as JPEG with a quality of 1 to 100."""
    # Each channel is a JPEG of its own, because the chroma of a colour JPEG would mix stains.
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    encoded = [cv2.imencode(".jpg", np.ascontiguousarray(plane), options)[1] for plane in image]
    planes = [cv2.imdecode(code, cv2.IMREAD_GRAYSCALE) for code in encoded]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes])


def to_the_power(image: Image, power: float) -> Image:
    """Raise the brightness to a power, where white is 1."""
    curve = 255 * (np.arange(256) / 255) ** power
    return np.asarray(np.rint(curve).astype(np.uint8)[image])


def with_noise(image: Image, counts: float, rng: np.random.Generator) -> Image:
    """Add Gaussian noise with a standard deviation in gray levels of 255."""
    noisy = image + rng.normal(0, counts, image.shape)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


def shrunk_and_back(image: Image, share: float) -> Image:
    """Shrink each side to a share, and enlarge the image again."""
    height, width = (round(side * share) for side in image.shape[1:])
    return resized(resized(image, height, width), *image.shape[1:])


def cropped(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Crop a window of `share` of each side at a random place, and enlarge it."""
    height, width = (round(side * share) for side in image.shape[1:])
    top = int(rng.integers(image.shape[1] - height + 1))
    left = int(rng.integers(image.shape[2] - width + 1))
    return resized(image[:, top : top + height, left : left + width], *image.shape[1:])


def window_along(image: Image, share: float, axis: int, rng: np.random.Generator) -> Image:
    """Crop a window of `share` along axis 1 (rows) or 2 (columns) at a random place."""
    length = round(image.shape[axis] * share)
    start = int(rng.integers(image.shape[axis] - length + 1))
    return np.ascontiguousarray(np.take(image, np.arange(start, start + length), axis=axis))


def with_scale_bar(image: Image, share: float, corner: int) -> Image:
    """Draw a white bar of `share` of the width with a caption in all channels, in corner 0 to 3."""
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
    """Blank a channel."""
    dark = image.copy()
    dark[channel] = 0
    return dark


def resized(image: Image, height: int, width: int) -> Image:
    """Resize an image, by area averaging if its height shrinks and else by cubic interpolation."""
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

# Edits whose copies are hard to recognise.
HARD_EDITS: dict[str, Edit] = {
    "close_crop": close_crop,
    "strip": strip,
    "coarse_jpeg": coarse_jpeg,
    "scale_bar": scale_bar,
    "blank_channel": blank_channel,
}


def planted_edits(channels: int) -> tuple[str, ...]:
    """Return the edits of planted copies; exact copies are left out, as they would show nothing."""
    unfit = {"exact"} | ({"blank_channel"} if channels == 1 else set())
    return tuple(name for name in EDITS | HARD_EDITS if name not in unfit)
