"""Colour photographs, drawn, in folders as people keep them."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

KNOWN = (
    "cats/p 1.JPG", "cats/indoor/p1.png", "cats/indoor/käse [2].webp", "cats/p3.tiff",
    "dogs/p1.bmp", "dogs/p2.gif", "dogs/old/p1.jpg", "dogs/old/p4.PNG",
    "birds/b1.jpeg", "birds/b2.png", "birds/b3.jpg", "birds/b4.png",
)  # fmt: skip
# New path -> the known picture it shows, or None.
NEW = {
    "a/equal.JPG": "cats/p 1.JPG",
    "a/smaller.png": "dogs/p1.bmp",
    "rotated.jpg": "birds/b2.png",
    "other.webp": None,
    "a/b/other.png": None,
}


def photo(seed: int, height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    """Coloured shapes on a texture, H x W x 3."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.circle(image, centre, int(rng.integers(4, 24)), colour, -1)
    return np.asarray(image, np.uint8)


def save(path: Path, pixels: NDArray[np.uint8], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    Image.fromarray(pixels).save(path, **quality, **options)  # type: ignore[arg-type]


def save_rotated(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Stored on its side, with an orientation by which viewers show it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save(path, np.ascontiguousarray(np.rot90(pixels)), exif=exif)


def write_known(folder: Path) -> Path:
    for seed, path in enumerate(KNOWN):
        save(folder / path, photo(seed))
    return folder


def write_new(folder: Path, known: Path) -> Path:
    """Of a folder of `write_known`."""
    equal, smaller, rotated, *others = NEW
    (folder / "a").mkdir(parents=True)
    (folder / equal).write_bytes((known / str(NEW[equal])).read_bytes())
    save(folder / smaller, photo(KNOWN.index(str(NEW[smaller])))[::2, ::2])
    save_rotated(folder / rotated, photo(KNOWN.index(str(NEW[rotated]))))
    for seed, path in enumerate(others, start=100):
        save(folder / path, photo(seed))
    return folder
