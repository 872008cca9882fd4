"""Small image stores for tests, without files to decode."""

from pathlib import Path

import numpy as np

from atlas.core.row_cache import fill_rows
from atlas.dataset.store import ImageStore


def tiny_store(
    folder: Path, *, count: int = 12, channels: int = 4, size_px: int = 32, seed: int = 0
) -> ImageStore:
    """Return a store of noise that differs between images, with different means of the channels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (count, channels, size_px, size_px), dtype=np.uint8)
    images += (20 * np.arange(channels, dtype=np.uint8))[:, None, None]
    return store_of(folder, {f"image{n:02d}": image for n, image in enumerate(images)})


def store_of(folder: Path, images: dict[str, np.ndarray]) -> ImageStore:
    """Return a store of these images, C x H x W."""
    first = next(iter(images.values()))
    cache = fill_rows(
        folder,
        list(images),
        lambda ids: np.stack([images[image_id] for image_id in ids]),
        provenance={"made": "for a test"},
        description="tiny",
    )
    return ImageStore(
        cache=cache,
        channels=tuple(f"c{n}" for n in range(len(first))),
        size_px=first.shape[1],
    )
