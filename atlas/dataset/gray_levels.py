"""Whether the counts of 16-bit images fill their range, and which range fits them.

Cameras with 10 to 14 bits write 16-bit files. If white is 65535, their images become black, and
no number says so.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from atlas.dataset.image_bytes import ImageProblem, opened_image
from atlas.dataset.images import decode, facts_of_image
from atlas.dataset.manifest import Manifest
from atlas.dataset.spec import AtlasSpec

LOGGER = logging.getLogger(__name__)

SAMPLE = 16  # images that are looked at
SCANR_OFFSET = 32768  # Olympus ScanR adds it to counts of 12 bits
WHITE = 65535
FEW = WHITE / 4  # counts that span less than this are reported


@dataclass(frozen=True, kw_only=True)
class FewLevels:
    """Counts that use a small part of their 16 bits.

    Attributes:
        lowest: The lowest count of the sample.
        highest: The highest count of the sample.
    """

    lowest: int
    highest: int

    @property
    def offset(self) -> int:
        """The count that should become black."""
        return SCANR_OFFSET if self.lowest >= SCANR_OFFSET else 0

    @property
    def proposed(self) -> int:
        """The count that should become white: the offset and the next power of two, less one."""
        span = max(255, self.highest - self.offset)
        return self.offset + (1 << int(span).bit_length()) - 1

    @property
    def sentence(self) -> str:
        """What is wrong and which entries of `atlas.toml` change it."""
        used = round(self.highest * 255 / WHITE) - round(self.lowest * 255 / WHITE) + 1
        said = f"images use {used} of 256 gray levels (highest count {self.highest}"
        if not self.offset:
            return f"{said}); set max_value = {self.proposed} in atlas.toml"
        return (
            f"{said}, and no count below {self.offset}, which ScanR adds); set "
            f"min_value = {self.offset} and max_value = {self.proposed} in atlas.toml"
        )


def few_levels(manifest: Manifest) -> FewLevels | None:
    """Return the counts of a sample if they use a small part of 16 bits, else None.

    Files of 8 bits, and atlases that state `max_value`, are never reported.
    """
    if manifest.spec.max_value is not None or not manifest.rows:
        return None
    step = -(-len(manifest.rows) // SAMPLE)
    files = tuple(file for row in manifest.rows[::step] for file in row.files)
    return _few_levels_of(files, len(manifest.spec.channels) if manifest.spec.whole else None)


def warn_of_few_levels(manifest: Manifest) -> None:
    """Log a warning if images use few gray levels. A process logs one for each atlas."""
    found = few_levels(manifest)
    if found and manifest.spec not in _WARNED:
        _WARNED.add(manifest.spec)
        LOGGER.warning(f"{manifest.spec.name}: {found.sentence}")


_WARNED: set[AtlasSpec] = set()


@lru_cache(maxsize=100)
def _few_levels_of(files: tuple[Path, ...], channels: int | None) -> FewLevels | None:
    ends = list(_ends(files, channels))
    if len(ends) < len(files) or not ends:
        return None
    found = FewLevels(lowest=min(low for low, _ in ends), highest=max(high for _, high in ends))
    return found if 0 < found.highest - found.offset < FEW else None


def _ends(files: tuple[Path, ...], channels: int | None) -> Iterator[tuple[int, int]]:
    """Yield the lowest and highest count of each file with 16 bits, up to the first other one."""
    for file in files:
        try:
            with opened_image(file) as image:
                if facts_of_image(image).bits != 16:
                    return
            counts = decode(file, channels)
        except ImageProblem:  # reported where all images are read
            return
        yield int(np.min(counts)), int(np.max(counts))
