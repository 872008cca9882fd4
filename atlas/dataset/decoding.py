"""Decoding: the files of images become resized arrays, here or on the workers of a cluster.

Axes: N images, C channels.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.core.parallel import DECODING_THREADS, by_threads
from atlas.core.row_cache import rows_that_fit
from atlas.core.row_work import RowMaker
from atlas.core.timing import stage
from atlas.dataset.coherence import coherence_scores
from atlas.dataset.file_keys import FileKeys, require_unchanged
from atlas.dataset.image_files import data_folder, said_of_file
from atlas.dataset.images import ImageProblem, read_field
from atlas.dataset.manifest import Manifest
from atlas.dataset.spec import AtlasSpec

Scores = dict[str, NDArray[np.float64]]  # the score of each channel, by id


def always() -> None:
    """Want all images; a function of a module can be sent to another process."""


class Decoding(RowMaker):
    """The decoded and resized images of an atlas, see `fill_store`.

    A worker of a cluster has the rows of its part alone, and scores no channels.
    """

    def __init__(
        self,
        manifest: Manifest,
        size_px: int,
        keys: FileKeys,
        scores: Scores,
        require_wanted: Callable[[], None],
    ) -> None:
        self._manifest, self._size_px, self._keys = manifest, size_px, keys
        self._scores, self._require_wanted = scores, require_wanted

    def __call__(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """Return images, N x C x size x size.

        Raises:
            DataError: Files cannot be read. Those of all images are listed.
        """
        manifest = self._manifest
        fields, problems = decode(manifest, ids, self._size_px, self._scores, self._require_wanted)
        if problems:
            raise DataError(str(image_folder(manifest)), _every_problem(manifest, self._size_px))
        require_unchanged(self._keys.signatures([manifest.by_id[i] for i in ids]))
        return fields

    def only(self, ids: Sequence[str]) -> RowMaker:
        """Return what decodes these images alone."""
        rows = tuple(self._manifest.by_id[image_id] for image_id in ids)
        return _DecodingPart(
            manifest=replace(self._manifest, rows=rows),
            size_px=self._size_px,
            signatures=self._keys.signatures(rows),
        )


@dataclass(frozen=True, kw_only=True)
class _DecodingPart(RowMaker):
    """The images of a part, which may be decoded on another machine.

    Attributes:
        manifest: The images of the part.
        size_px: The side of the square images.
        signatures: What their files were when their checksums were taken.
    """

    manifest: Manifest
    size_px: int
    signatures: Mapping[Path, str]

    def __call__(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        fields, problems = decode(self.manifest, ids, self.size_px)
        if problems:
            raise DataError(str(image_folder(self.manifest)), problems)
        rows = (self.manifest.by_id[image_id] for image_id in ids)
        require_unchanged({file: self.signatures[file] for row in rows for file in row.files})
        return fields

    def only(self, ids: Sequence[str]) -> "_DecodingPart":
        return self


def decode(
    manifest: Manifest,
    ids: Sequence[str],
    size_px: int,
    scores: Scores | None = None,
    require_wanted: Callable[[], None] = always,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return images, N x C x size x size, and a line for each image that cannot be read.

    Args:
        manifest: All images.
        ids: The ids of the images to decode.
        size_px: The side of the square images.
        scores: A dict to which the scores of images with several files are added.
        require_wanted: See `fill_store`.
    """
    spec = manifest.spec
    fields = np.zeros((len(ids), len(spec.channels), size_px, size_px), np.uint8)
    one_at_a_time = threading.Lock()

    def decode(n: int) -> str:
        require_wanted()
        row = manifest.by_id[ids[n]]
        try:
            fields[n] = read_field(
                row.files,
                spec.channels,
                max_value=spec.max_value,
                min_value=spec.min_value,
                size_px=size_px,
                whole=spec.whole,
            )
        except ImageProblem as problem:
            return said_of_file(row, spec, problem)
        if scores is not None and may_be_mixed_up(spec):
            # This holds the interpreter lock, so threads wait here and do not slow each other down.
            with one_at_a_time, stage("comparing channels", items=1):
                scores[row.id] = coherence_scores(fields[n])
        return ""

    said = by_threads(decode, range(len(ids)), threads=DECODING_THREADS)
    return fields, [problem for problem in said if problem]


def may_be_mixed_up(spec: AtlasSpec) -> bool:
    """Return whether the file of a channel could belong to another image."""
    return len(spec.file_channels) > 1


def _every_problem(manifest: Manifest, size_px: int) -> list[str]:
    """Decode all images without storing them, so that the user sees all damaged files at once."""
    step = rows_that_fit(len(manifest.spec.channels) * size_px**2)
    blocks = (manifest.ids[start : start + step] for start in range(0, len(manifest.ids), step))
    return [line for block in blocks for line in decode(manifest, block, size_px)[1]]


def image_folder(manifest: Manifest) -> Path:
    """Return the folder that errors name, which is that of the first image."""
    return data_folder(manifest.rows[0], manifest.spec)
