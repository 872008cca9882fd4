"""Edits of three hardnesses, each of which reports what it did.

An edit is a pure function of (image, rng, ranges). The image is uint8 C x H x W. The result is a
new image (C x H' x W', uint8 or uint16) and the values that were drawn, by name. Shares refer to a
side, counts to 255.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.synthetic.edits import (
    ALL_TURNS,
    SHAPE_KEEPING_TURNS,
    Image,
    cropped,
    resized,
    rotated,
    shrunk_and_back,
    through_jpeg,
    to_the_power,
    window_along,
    with_noise,
    with_scale_bar,
    without_channel,
)

Hardness = Literal["easy", "middle", "hard"]
Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
Said: TypeAlias = dict[str, float]
Edited: TypeAlias = tuple[Pixels, Said]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """The ranges of an edit.

    `quality` is that of a JPEG; `crop` and `scale` are the shares of each side that are kept, or to
    which the image is scaled.
    """

    quality: tuple[int, int]
    crop: tuple[float, float]
    scale: tuple[float, float]


RANGES: dict[Hardness, Ranges] = {
    "easy": Ranges(quality=(30, 75), crop=(0.8, 0.93), scale=(0.45, 0.75)),
    "middle": Ranges(quality=(20, 40), crop=(0.7, 0.8), scale=(0.35, 0.5)),
    "hard": Ranges(quality=(10, 20), crop=(0.6, 0.7), scale=(0.25, 0.35)),
}
POWER = (0.65, 1.6)
COUNTS = (4.0, 12.0)
ASPECT = (0.6, 0.8)
BLUR = (0.01, 0.02)
BAR = (0.15, 0.25)
WHITE_OF_16_BIT = (0.25, 0.6)

Edit: TypeAlias = Callable[[Image, np.random.Generator, Ranges], Edited]


def exact(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    return image.copy(), {}


def d4(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """A flip or rotation that is not the identity; where H != W only those that keep the shape."""
    square = image.shape[1] == image.shape[2]
    rotation = int(rng.choice(ALL_TURNS if square else SHAPE_KEEPING_TURNS))
    return rotated(image, rotation), {"rotation": rotation}


def jpeg(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    low, high = ranges.quality
    quality = int(rng.integers(low, high + 1))
    return through_jpeg(image, quality), {"quality": quality}


def gamma(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """Darkening is as likely as brightening."""
    low, high = POWER
    power = rng.uniform(low, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, high)
    return to_the_power(image, power), {"power": power}


def rescale(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    scale = rng.uniform(*ranges.scale)
    return shrunk_and_back(image, scale), {"scale": scale}


def crop(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    share = rng.uniform(*ranges.crop)
    return cropped(image, share, rng), {"crop": share}


def noise(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    counts = rng.uniform(*COUNTS)
    return with_noise(image, counts, rng), {"counts": counts}


def mixed(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """Apply a flip or rotation, a crop of 0.88 to 0.95, a gamma, and a JPEG of quality 70."""
    lay, said = d4(image, rng, ranges)
    share = rng.uniform(0.88, 0.95)
    bright, power = gamma(cropped(_uint8(lay), share, rng), rng, ranges)
    return through_jpeg(_uint8(bright), 70), {**said, "crop": share, **power, "quality": 70}


def rotated_crop(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """A flip or rotation, a crop, a gamma and a JPEG."""
    return _one_after_another(image, rng, ranges, (d4, crop, gamma, jpeg))


def rotated_rescale(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """A flip or rotation, fewer pixels, a gamma and noise."""
    return _one_after_another(image, rng, ranges, (d4, rescale, gamma, noise))


def aspect(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """The whole field squeezed along one axis, 1 (rows) or 2 (columns), and left so."""
    share, axis = rng.uniform(*ASPECT), int(rng.integers(1, 3))
    upright = image if axis == 1 else image.swapaxes(1, 2)
    squeezed = resized(upright, round(upright.shape[1] * share), upright.shape[2])
    whole = squeezed if axis == 1 else squeezed.swapaxes(1, 2)
    return np.ascontiguousarray(whole), {"aspect": share, "axis": axis}


def strip(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """A window that is narrower along one axis only, left in its own shape."""
    share, axis = rng.uniform(*ASPECT), int(rng.integers(1, 3))
    return window_along(image, share, axis, rng), {"strip": share, "axis": axis}


def blank_channel(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    channel = int(rng.integers(len(image)))
    return without_channel(image, channel), {"channel": channel}


def scale_bar(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """A white bar with a caption in one of the four corners, over all channels."""
    share, corner = rng.uniform(*BAR), int(rng.integers(4))
    return with_scale_bar(image, share, corner), {"bar": share, "corner": corner}


def sixteen_bit(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """Use 16 bits per pixel; white reaches only a part of the range, as in images of cameras."""
    white = rng.uniform(*WHITE_OF_16_BIT)
    return np.rint(image * (65535 / 255 * white)).astype(np.uint16), {"white": white}


def blur(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """Out of focus: a Gaussian whose standard deviation is a share of the longer side."""
    share = rng.uniform(*BLUR)
    sigma_px = share * max(image.shape[1:])
    planes = [cv2.GaussianBlur(np.ascontiguousarray(plane), (0, 0), sigma_px) for plane in image]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes]), {"blur": share}


def _one_after_another(
    image: Image, rng: np.random.Generator, ranges: Ranges, edits: tuple[Edit, ...]
) -> Edited:
    said: Said = {}
    pixels = image
    for edit in edits:
        edited, more = edit(pixels, rng, ranges)
        pixels, said = _uint8(edited), said | more
    return pixels, said


def _uint8(pixels: Pixels) -> Image:
    return np.asarray(pixels, np.uint8)


NEEDS_CHANNELS: tuple[Edit, ...] = (blank_channel,)
EDITS: dict[Hardness, tuple[Edit, ...]] = {
    "easy": (exact, d4, jpeg, gamma, rescale, crop, noise, mixed),
    "middle": (jpeg, crop, rescale),
    "hard": (
        jpeg, crop, rescale, rotated_crop, rotated_rescale, aspect, strip, blank_channel,
        scale_bar, sixteen_bit, blur,
    ),
}  # fmt: skip


def edits_of(hardness: Hardness, channels: int) -> tuple[Edit, ...]:
    """The edits that images of so many channels can take."""
    return tuple(e for e in EDITS[hardness] if channels > 1 or e not in NEEDS_CHANNELS)


def in_words(said: Said) -> str:
    """`name=value name=value`, as planted.csv holds it."""
    return " ".join(f"{name}={value:.6g}" for name, value in said.items())


def from_words(text: str) -> Said:
    """The inverse of `in_words`."""
    return {name: float(value) for name, _, value in (w.partition("=") for w in text.split())}
