"""Sketches: what is kept of each image so that it can be compared with many others quickly.

A sketch has the keypoints of an image and its small blocks, in a row of bytes of fixed length.
Axes: C channels, H rows, W columns, K keypoints, D values of a descriptor, B blocks, P pixels of a
block, N images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.core.row_cache import RowCache
from index.copies.agreement import channel_blocks, shrunk
from index.copies.images import Images
from index.copies.keypoints import KEYPOINTS, VALUES, composite, find_keypoints

FloatArray = NDArray[np.float32]

SMALL_PX = 32  # side of the picture that is divided into small blocks
SMALL_BLOCK_PX = 4
FINE_PX, COARSE_PX = 0.7, 2.0  # standard deviations of the band-pass of the small picture
BLOCKS = (SMALL_PX // SMALL_BLOCK_PX) ** 2
# A block is smooth if its standard deviation is less than this share of the picture's.
SMOOTH_BELOW = 0.15
PICTURE_PX = 128  # side of the composite in which keypoints are searched
# Values of descriptors become bytes; the square root of a share of at most 0.2 is below 0.5.
SCALE, FOLDED_SCALE = 510.0, 255.0
SKETCH_VERSION = 1  # kept sketches of other versions are not used
FOLDER = "sketches"
SKETCHES_PER_FILE = 500

SKETCH = np.dtype(
    [
        ("descriptors", np.uint8, (KEYPOINTS, VALUES)),
        ("folded", np.uint8, (KEYPOINTS, VALUES)),
        ("places", np.float32, (KEYPOINTS, 2)),
        ("sizes", np.float32, (KEYPOINTS,)),
        ("angles", np.float32, (KEYPOINTS,)),
        ("blocks", np.int8, (BLOCKS, SMALL_BLOCK_PX**2)),
    ]
)


def sketch(field: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the sketch of an image (C x H x W) as bytes."""
    picture = composite(np.sqrt(shrunk(field, PICTURE_PX).astype(np.float32)))
    found = find_keypoints(picture)
    row = np.zeros((), SKETCH)
    row["descriptors"] = np.minimum(np.rint(SCALE * found.descriptors_KD), 255)
    row["folded"] = np.minimum(np.rint(FOLDED_SCALE * found.folded_KD), 255)
    row["places"], row["sizes"], row["angles"] = found.places_K2, found.sizes_K, found.angles_K
    row["blocks"] = np.rint(127 * small_blocks(picture))
    return np.frombuffer(row.tobytes(), np.uint8)


def kept_sketches(images: Images, ids: Sequence[str], folder: Path) -> RowCache:
    """Return the sketches of images, which are kept below `folder`."""
    return images.kept(
        ids, sketch, name="sketching", folder=folder / FOLDER,
        provenance={"sketch": SKETCH_VERSION}, rows_per_file=SKETCHES_PER_FILE,
    )  # fmt: skip


def small_blocks(picture: FloatArray) -> FloatArray:
    """Return the band-passed blocks of a picture with mean 0 and length 1; smooth ones are 0."""
    small = cv2.resize(picture, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA)
    banded = cv2.GaussianBlur(small, (0, 0), FINE_PX) - cv2.GaussianBlur(small, (0, 0), COARSE_PX)
    blocks_BP = blocks_of(banded, SMALL_BLOCK_PX)
    blocks_BP = blocks_BP - blocks_BP.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(blocks_BP, axis=1, keepdims=True)
    least = SMOOTH_BELOW * SMALL_BLOCK_PX * max(float(banded.std()), 1e-3)
    return np.where(lengths > least, blocks_BP / np.maximum(lengths, least), 0).astype(np.float32)


def blocks_of(picture: FloatArray, side: int) -> FloatArray:
    """Return the blocks of a picture whose sides are multiples of `side`, B x P, row by row."""
    return channel_blocks(picture[..., None], side)[:, 0]


@dataclass(frozen=True, kw_only=True)
class Sketches:
    """The sketches of several images, N x bytes."""

    bytes_NB: NDArray[np.uint8]

    def only(self, numbers: Sequence[int] | NDArray[np.intp]) -> "Sketches":
        """Return some of the sketches."""
        return Sketches(bytes_NB=self.bytes_NB[np.asarray(numbers, np.intp)])

    def __len__(self) -> int:
        return len(self.bytes_NB)

    @cached_property
    def rows(self) -> NDArray[np.void]:
        """The sketches as records of SKETCH."""
        return np.ascontiguousarray(self.bytes_NB).view(SKETCH)[:, 0]

    @cached_property
    def folded(self) -> FloatArray:
        """The folded descriptors, N x K x D; length FOLDED_SCALE but for rounding, 0 if absent.

        They are whole numbers, so their products are exact and equal on every machine.
        """
        return np.asarray(self.rows["folded"], np.float32)

    @cached_property
    def blocks(self) -> FloatArray:
        """The small blocks, N x B x P; length 1 but for rounding, and 0 if smooth."""
        return np.asarray(self.rows["blocks"], np.float32) / np.float32(127)

    @property
    def show(self) -> NDArray[np.bool_]:
        """Whether each image shows anything that could be recognised, N."""
        shown = self.rows["blocks"].any(axis=(1, 2)) | (self.rows["sizes"] > 0).any(axis=1)
        return np.asarray(shown, bool)
