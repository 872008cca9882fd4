"""Pictures for a review, which are made when somebody asks for them and kept in memory.

Axes: C channels, H rows, W columns.
"""

import threading
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.dataset.image_files import said_of_file
from atlas.dataset.images import ImageProblem, read_field
from atlas.dataset.manifest import ImageRow
from atlas.dataset.store import read_images
from atlas.report.agreeing_blocks import AgreeingBlocks
from atlas.report.pictures import to_bytes, to_rgb, webp
from atlas.workflows.leaks.pair_difference import lay_over
from atlas.workflows.review.queue import Queue

TILE_PX = 160
TILE_QUALITY = 75
TILES_KEPT = 12_000  # of about 6 kB
FIELDS_KEPT = 4  # two pairs at native resolution
PAIRS_KEPT = 500
PNG_COMPRESSION = 1  # pictures go to a browser on the same machine


@dataclass(frozen=True, kw_only=True)
class RegisteredPair:
    """How a query lies on its match; all positions are shares of the sides of a picture.

    Attributes:
        aligned: Whether the two could be aligned. If not, the map is the identity.
        laid_23: The affine map from the query to the match, row by row.
        geometry: What was done to the query, and how many blocks agree, as a sentence.
        blocks: The agreeing blocks, or None if there are none.
    """

    aligned: bool
    laid_23: tuple[float, ...]
    geometry: str
    blocks: AgreeingBlocks | None


class ReviewPictures:
    """The pictures of the images of a queue.

    All methods may be called by several threads at once.

    Args:
        queue: What is reviewed.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._kept_field = lru_cache(FIELDS_KEPT)(self._read)
        self.tile = lru_cache(TILES_KEPT)(self._tile)
        self.registered = lru_cache(PAIRS_KEPT)(self._registered)

    def channel(self, image_id: str, number: int) -> bytes:
        """Return a channel of an image at native resolution, as a gray PNG.

        Raises:
            KeyError: The image or the channel is unknown.
            DataError: A file cannot be read.
        """
        planes = self._field(image_id)
        if not 0 <= number < len(planes):
            raise KeyError(number)
        options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
        return cv2.imencode(".png", planes[number], options)[1].tobytes()

    def _tile(self, image_id: str) -> bytes:
        """Return a small picture of an image, as WebP.

        Raises:
            KeyError: The image is unknown.
            DataError: A file cannot be read.
        """
        planes = self._read(self._row(image_id))
        scale = TILE_PX / max(planes.shape[1:])
        size = tuple(max(1, round(side * scale)) for side in planes.shape[:0:-1])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = np.stack([cv2.resize(plane, size, interpolation=how) for plane in planes])
        rgb = to_bytes(to_rgb(small, self._queue.spec.channels))
        return webp(rgb, quality=TILE_QUALITY)

    def _registered(self, query_id: str, match_id: str) -> RegisteredPair:
        """Return how a query lies on its match, as the search for leaks compared them.

        Raises:
            KeyError: An image is unknown.
            DataError: A file cannot be read.
        """
        calibration = self._queue.calibration
        if calibration is None:  # without leaks there are no pairs
            raise KeyError(query_id)
        ids = [self._row(image_id).id for image_id in (query_id, match_id)]
        query, match = read_images(self._queue.manifest, ids, size_px=self._queue.size_px)
        over = lay_over(query, match, calibration.registration, calibration.law)
        aligned = over.found.score > 0
        laid_23 = over.laid_23 if aligned else np.eye(2, 3)
        return RegisteredPair(
            aligned=aligned,
            laid_23=tuple(round(float(number), 6) for number in laid_23.flat),
            geometry=over.geometry_in_words(self._queue.spec.channels),
            blocks=over.blocks if aligned else None,
        )

    def _field(self, image_id: str) -> NDArray[np.uint8]:
        row = self._row(image_id)
        with self._locks[image_id]:  # a browser asks for all channels of an image at once
            return self._kept_field(row)

    def _row(self, image_id: str) -> ImageRow:
        return self._queue.manifest.by_id[image_id]

    def _read(self, row: ImageRow) -> NDArray[np.uint8]:
        """Return an image at native resolution, C x H x W."""
        spec = self._queue.spec
        try:
            return read_field(
                row.files, spec.channels, max_value=spec.max_value, min_value=spec.min_value,
                whole=spec.whole,
            )  # fmt: skip
        except ImageProblem as problem:
            text = said_of_file(row, spec, problem)
            raise DataError(str(row.files[0].parent), [text]) from problem
