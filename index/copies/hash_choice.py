"""Which perceptual hash suits an atlas: the one that finds most of its planted copies."""

import logging
from collections.abc import Sequence
from pathlib import Path

from index.copies.hashes import HashIndex, hash_images
from index.copies.images import Images
from index.copies.trials import plant_copies, source_of
from index.settings import HashKind

LOGGER = logging.getLogger(__name__)

# Those of 64 bits find more edits, and those of 256 bits find more copies where many images are
# alike. If two find equally many, the first one is taken, which is the faster one.
CHOICES: tuple[HashKind, ...] = ("dhash", "phash256")
TRIED = 400  # planted copies, and images that they are searched among


def choose_hash(
    ids: Sequence[str], images: Images, *, channels: int, seed: int, folder: Path
) -> HashKind:
    """Return the hash by which most planted copies have their source as the nearest image.

    Args:
        ids: The labelled images; the sources are up to 400 of them, at random.
        images: Their pixels.
        channels: The number of their channels.
        seed: The seed of the choice and of the edits.
        folder: Where finished hashes are kept.
    """
    copies = plant_copies(ids, images, channels=channels, count=TRIED, seed=seed)
    sources = tuple(source_of(planted_id) for planted_id in copies.ids)
    found: dict[HashKind, int] = {}
    for kind in CHOICES:
        upright_MCB = hash_images(sources, images, kind, folder=folder)[:, 0]
        rotated_NTCB = hash_images(copies.ids, copies.images, kind, folder=folder)
        nearest_N = HashIndex(ids=sources, upright_MCB=upright_MCB).nearest(
            copies.ids, rotated_NTCB, 1
        )[:, 0]
        found[kind] = sum(near == source for near, source in zip(nearest_N, sources, strict=True))
    best = max(found, key=found.__getitem__)
    counts = ", ".join(f"{count} by {kind}" for kind, count in found.items())
    LOGGER.info(f"{best} proposes candidates: of {len(sources)} planted copies, {counts} are found")
    return best
