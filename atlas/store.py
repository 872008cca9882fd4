"""The image store: every field decoded and resized once, uint8 C x H x W."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.errors import DataError
from atlas.files import content_hash
from atlas.images import ImageProblem, read_field, resize_field
from atlas.manifest import ImageRow, Manifest
from atlas.parts import PartStore, fill_parts

DECODING_THREADS = 4  # decoding releases the GIL


@dataclass(frozen=True, kw_only=True)
class ImageStore:
    """Fields of one atlas at one size. channels name axis C."""

    parts: PartStore
    channels: tuple[str, ...]
    size_px: int

    @property
    def ids(self) -> tuple[str, ...]:
        return self.parts.ids

    @property
    def content_hash(self) -> str:
        return self.parts.content_hash

    def read(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """uint8 N x C x size x size, in the order of ids. Raises KeyError for an unknown id."""
        if not ids:
            return np.empty((0, len(self.channels), self.size_px, self.size_px), np.uint8)
        return np.asarray(self.parts.read(ids), dtype=np.uint8)


def native_size_px(manifest: Manifest, *, at_most_px: int) -> int:
    """The commonest longer side of the atlas's images, bounded."""
    sides = Counter(max(row.width_px, row.height_px) for row in manifest.rows)
    return min(at_most_px, max(sides, key=lambda side: (sides[side], side)))


def fill_store(manifest: Manifest, folder: Path, *, size_px: int) -> ImageStore:
    """The store of a manifest, made or completed below `folder`.

    Stores of other images or sizes lie beside it under other names. Raises DataError with every
    file whose pixels cannot be read.
    """
    key = content_hash(str(size_px), repr(manifest.spec), *map(_fingerprint, manifest.rows))
    problems: list[str] = []

    def make_rows(ids: Sequence[str]) -> NDArray[np.uint8]:
        with ThreadPoolExecutor(DECODING_THREADS) as pool:
            fields = list(pool.map(lambda i: _load(manifest, i, size_px, problems), ids))
        if problems:
            raise DataError(str(manifest.by_id[ids[0]].files[0].parent), sorted(problems))
        return np.stack(fields)

    parts = fill_parts(
        folder / f"{size_px}px-{key}",
        manifest.ids,
        make_rows,
        provenance={
            "atlas": manifest.spec.name,
            "channels": manifest.spec.channels,
            "size_px": size_px,
        },
        description="decoding",
    )
    return ImageStore(parts=parts, channels=manifest.spec.channels, size_px=size_px)


def _fingerprint(row: ImageRow) -> str:
    """Changes when a file does, without reading it."""
    stats = [file.stat() for file in row.files]
    return row.id + "".join(f"|{stat.st_size},{stat.st_mtime_ns}" for stat in stats)


def _load(
    manifest: Manifest, image_id: str, size_px: int, problems: list[str]
) -> NDArray[np.uint8]:
    row, spec = manifest.by_id[image_id], manifest.spec
    try:
        return resize_field(read_field(row.files, spec.channels, max_value=spec.max_value), size_px)
    except ImageProblem as problem:
        problems.append(str(problem))
        return np.zeros((len(spec.channels), size_px, size_px), np.uint8)
