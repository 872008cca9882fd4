"""Images by id, which are read when they are needed.

Axes: N images, C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atlas.core.parallel import by_processes, by_threads
from atlas.core.row_cache import ROWS_PER_FILE, RowCache, fill_rows
from atlas.core.row_work import RowMaker
from atlas.core.timing import stage
from atlas.dataset.image_source import ImageSource

Made = TypeVar("Made")

FIELDS_WORTH_PROCESSES = 250
FIELDS_READ_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images by id, which are read when they are needed.

    Attributes:
        what: The name of the images in progress bars.
        source: What they are read from.
    """

    what: str
    source: ImageSource

    def read(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """Return the pixels of images, uint8 N x C x H x W."""
        return self.source.read(ids)

    def keys(self, ids: Sequence[str]) -> Sequence[str]:
        """Return a key of the pixels of each image, under which results are kept."""
        return self.source.keys(ids)

    def only(self, ids: Sequence[str]) -> "Images":
        """Return these images alone, which are quick to send to another process."""
        return replace(self, source=self.source.only(ids))

    def made_of(
        self,
        ids: Sequence[str],
        work: Callable[[NDArray[np.uint8]], Made],
        *,
        name: str,
        holds_interpreter: bool = False,
    ) -> list[Made]:
        """Return what `work` makes of each image (C x H x W), on all cores.

        Only a few images are in memory at a time.

        Args:
            ids: The images.
            work: The function of an image. It must be a function of a module if
                `holds_interpreter`.
            name: The name of the work in progress bars and profiles.
            holds_interpreter: Whether `work` holds Python's global lock, so that processes pay off
                for many images.
        """
        many = len(ids) >= FIELDS_WORTH_PROCESSES
        made: list[Made] = []
        for start in range(0, len(ids), FIELDS_READ_AT_ONCE):
            fields = self.read(ids[start : start + FIELDS_READ_AT_ONCE])
            with stage(name, items=len(fields)):
                if holds_interpreter:
                    made += by_processes(work, [(field,) for field in fields], processes=many)
                else:
                    made += by_threads(work, fields)
        return made

    def kept(
        self,
        ids: Sequence[str],
        work: Callable[[NDArray[np.uint8]], NDArray[Any]],
        *,
        name: str,
        folder: Path,
        provenance: dict[str, Any],
        holds_interpreter: bool = False,
        rows_per_file: int = ROWS_PER_FILE,
    ) -> RowCache:
        """Return the rows of `made_of`, kept in `folder` under the keys of the images.

        Args:
            ids: The images.
            work: As for `made_of`; it returns an array, and is a function of a module.
            name: As for `made_of`.
            folder: The folder of the row cache.
            provenance: What the rows depend on besides the pixels.
            holds_interpreter: As for `made_of`.
            rows_per_file: The number of rows in each file of the cache.
        """
        make_rows = _Making(images=self, work=work, name=name, holds_interpreter=holds_interpreter)
        return fill_rows(
            folder,
            ids,
            make_rows,
            provenance=provenance,
            description=f"{name} {self.what}",
            keys=self.keys(ids),
            rows_per_file=rows_per_file,
        )


@dataclass(frozen=True, kw_only=True)
class _Making(RowMaker):
    """Rows that a function of a module makes of images, see `Images.made_of`."""

    images: Images
    work: Callable[[NDArray[np.uint8]], NDArray[Any]]
    name: str
    holds_interpreter: bool

    def __call__(self, ids: Sequence[str]) -> NDArray[Any]:
        return np.stack(
            self.images.made_of(
                ids, self.work, name=self.name, holds_interpreter=self.holds_interpreter
            )
        )

    def only(self, ids: Sequence[str]) -> "_Making":
        return replace(self, images=self.images.only(ids))
