"""The image store: all images of an atlas, decoded and resized once, uint8 C x H x W."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.core.execution import current_share, whole_and_here
from atlas.core.files import content_hash
from atlas.core.row_cache import OnStored, RowCache, fill_rows, rows_that_fit
from atlas.core.row_work import RowMaker, StoredRow
from atlas.dataset.artifacts import save_table
from atlas.dataset.coherence import LEAST_SCORE, STEP_PX, coherence_scores
from atlas.dataset.decoding import Decoding, Scores, always, decode, image_folder, may_be_mixed_up
from atlas.dataset.file_keys import FileKeys
from atlas.dataset.gray_levels import warn_of_few_levels
from atlas.dataset.image_keys import image_key
from atlas.dataset.manifest import Manifest

LOGGER = logging.getLogger(__name__)

LARGEST_PX = 512  # the size of the images of 2018; by default, larger images are reduced to it


@dataclass(frozen=True, kw_only=True)
class ImageStore:
    """The images of one atlas at one size.

    Attributes:
        cache: The row cache that holds the images.
        channels: The names of axis C.
        size_px: The side of the square images.
        read_as: How the files were read, see `AtlasSpec.read_as`.
    """

    cache: RowCache
    channels: tuple[str, ...]
    size_px: int
    read_as: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the images in order."""
        return self.cache.ids

    @property
    def content_hash(self) -> str:
        """The hash of all ids and images."""
        return self.cache.content_hash

    def keys(self, ids: Sequence[str]) -> Sequence[str]:
        """Return the hash of the pixels of each image.

        Accessing the hash of an unknown id raises KeyError.
        """
        return self.cache.row_hashes(ids)

    def image_keys(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Return the key of each image, which follows from its files; see `image_key`.

        Raises:
            KeyError: An id is unknown.
        """
        rows = self.cache.rows
        return tuple(image_key(rows[image_id].key, self.read_as) for image_id in ids)

    @property
    def key_of(self) -> dict[str, str]:
        """The key of each image by id; see `image_keys`."""
        return dict(zip(self.ids, self.image_keys(self.ids), strict=True))

    def only(self, ids: Sequence[str]) -> "ImageStore":
        """Return the store of these images alone, which is quick to send to another process.

        Raises:
            KeyError: An id is unknown.
        """
        return replace(self, cache=self.cache.only(ids))

    def read(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """Return images, uint8 N x C x size x size, in the order of ids.

        Raises:
            KeyError: An id is unknown.
        """
        if not ids:
            return np.empty((0, len(self.channels), self.size_px, self.size_px), np.uint8)
        return np.asarray(self.cache.read(ids), dtype=np.uint8)


def native_size_px(manifest: Manifest, *, at_most_px: int = LARGEST_PX) -> int:
    """Return the most common longer side of the images, at most `at_most_px`."""
    sides = Counter(max(row.width_px, row.height_px) for row in manifest.rows)
    return min(at_most_px, max(sides, key=lambda side: (sides[side], side), default=at_most_px))


def fill_store(
    manifest: Manifest,
    folder: Path,
    *,
    size_px: int,
    on_stored: OnStored = lambda rows: None,
    require_wanted: Callable[[], None] = always,
) -> ImageStore:
    """Return the store of a manifest below `folder`, and decode the images that it lacks.

    Stores of other sizes lie beside it under other names. The table `disagreements.csv` beside the
    images lists channels that do not seem to belong to their image, and a warning names it.

    Args:
        manifest: The images.
        folder: The folder of all stores.
        size_px: The side of the square images.
        on_stored: See `fill_rows`.
        require_wanted: A function that is called before each image and raises if the remaining
            images are no longer wanted.

    Raises:
        DataError: Files cannot be read. All of them are listed.
    """
    scores: Scores = {}
    keys = FileKeys(manifest.rows, folder)
    warn_of_few_levels(manifest)
    cache = fill_rows(
        _cache_folder(manifest, folder, size_px),
        manifest.ids,
        Decoding(manifest, size_px, keys, scores, require_wanted),
        provenance=_provenance(manifest, size_px),
        description="decoding",
        keys=keys,
        rows_per_file=rows_that_fit(len(manifest.spec.channels) * size_px**2),
        on_stored=on_stored,
    )
    keys.keep()
    store = _store(manifest, cache, size_px)
    if may_be_mixed_up(manifest.spec) and store.ids:
        _report_disagreements(store, scores, require_wanted)
    return store


@contextmanager
def store_being_filled(manifest: Manifest, folder: Path, *, size_px: int) -> Iterator[ImageStore]:
    """Yield the store of a manifest at once, while another thread fills it.

    Reading an image waits until it is stored. At the end of the block, all images are stored, or
    the error of `fill_store` is raised. After an error in the block or Ctrl-C, the images that are
    being decoded are finished and no others are started.
    """
    if not whole_and_here():  # other processes decode, and this one has nothing else to do
        yield fill_store(manifest, folder, size_px=size_px)
        return
    rows = _RowsToCome()
    cache = RowCache(
        folder=_cache_folder(manifest, folder, size_px),
        ids=manifest.ids,
        provenance=_provenance(manifest, size_px),
        rows=rows,
    )
    with ThreadPoolExecutor(1, "filling the store") as pool:
        rows.wait_for(
            pool.submit(
                fill_store, manifest, folder, size_px=size_px, on_stored=rows.add,
                require_wanted=rows.require_wanted,
            )
        )  # fmt: skip
        try:
            yield _store(manifest, cache, size_px)
            rows.filling.result()
        except BaseException:
            rows.want_no_more()
            raise


def read_images(manifest: Manifest, ids: Sequence[str], *, size_px: int) -> NDArray[np.uint8]:
    """Return a few images as a store of that size holds them, without a store: N x C x size x size.

    Raises:
        DataError: Files cannot be read. All of them are listed.
    """
    fields, problems = decode(manifest, ids, size_px)
    if problems:
        raise DataError(str(image_folder(manifest)), problems)
    return fields


def _store(manifest: Manifest, cache: RowCache, size_px: int) -> ImageStore:
    spec = manifest.spec
    return ImageStore(cache=cache, channels=spec.channels, size_px=size_px, read_as=spec.read_as)


def _report_disagreements(
    store: ImageStore, scores: Scores, require_wanted: Callable[[], None]
) -> None:
    """Write `disagreements.csv` beside the images: id, channel and score, lowest score first.

    The scores are cached, and a warning is logged when the table changes.

    Args:
        store: The image store.
        scores: The scores that are known. Other images are scored here.
        require_wanted: See `fill_store`.
    """
    path = store.cache.folder / "disagreements.csv"
    cache = fill_rows(
        store.cache.folder / "coherence",
        store.ids,
        _Comparing(store, scores, require_wanted),
        provenance={"channels": store.channels, "step_px": STEP_PX},
        description="comparing channels",
        keys=store.keys(store.ids),
        rows_per_file=rows_that_fit(len(store.channels) * store.size_px**2),
    )
    if current_share():
        return
    scores_NC = cache.read(store.ids)
    low = [(float(scores_NC[n, c]), n, c) for n, c in np.argwhere(scores_NC < LEAST_SCORE)]
    table = pd.DataFrame(
        [(store.ids[n], store.channels[c], score) for score, n, c in sorted(low)],
        columns=["id", "channel", "score"],
    )
    before = path.read_bytes() if path.exists() else b""
    save_table(path, table)
    if low and path.read_bytes() != before:
        count = table["id"].nunique()
        LOGGER.warning(
            f"{count} of {len(store.ids)} images have a channel that does not seem to belong to "
            f"them; check the files listed in {path}"
        )


class _Comparing(RowMaker):
    """The score of each channel of stored images; known scores are not computed again."""

    def __init__(
        self,
        store: ImageStore,
        scores: Scores,
        require_wanted: Callable[[], None],
    ) -> None:
        self._store, self._scores, self._require_wanted = store, scores, require_wanted

    def __call__(self, ids: Sequence[str]) -> NDArray[np.float64]:
        return np.stack([self._score(image_id) for image_id in ids])

    def only(self, ids: Sequence[str]) -> "_Comparing":
        return _Comparing(self._store.only(ids), {}, always)

    def _score(self, image_id: str) -> NDArray[np.float64]:
        if image_id in self._scores:
            return self._scores[image_id]
        self._require_wanted()
        return coherence_scores(self._store.read([image_id])[0])


def _cache_folder(manifest: Manifest, folder: Path, size_px: int) -> Path:
    return folder / f"{size_px}px-{content_hash(repr(manifest.spec))}"


def _provenance(manifest: Manifest, size_px: int) -> dict[str, Any]:
    return {
        "atlas": manifest.spec.name,
        "channels": manifest.spec.channels,
        "size_px": size_px,
        "rounded": "after resizing",
    }


class _Stopped(Exception):
    """The remaining images are not wanted, so filling the store ends."""


class _RowsToCome(Mapping[str, StoredRow]):
    """Rows by id. Accessing a row waits until it is stored, or raises the error of the filling."""

    filling: Future[ImageStore]

    def __init__(self) -> None:
        self._rows: dict[str, StoredRow] = {}
        self._news = threading.Condition()
        self.wanted = True

    def wait_for(self, filling: Future[ImageStore]) -> None:
        self.filling = filling
        filling.add_done_callback(lambda _: self.add({}))

    def add(self, rows: Mapping[str, StoredRow]) -> None:
        with self._news:
            if not self.wanted and rows:
                raise _Stopped
            self._rows.update(rows)
            self._news.notify_all()

    def require_wanted(self) -> None:
        if not self.wanted:
            raise _Stopped

    def want_no_more(self) -> None:
        with self._news:
            self.wanted = False
            self._news.notify_all()

    def __getitem__(self, image_id: str) -> StoredRow:
        with self._news:
            self._news.wait_for(
                lambda: image_id in self._rows or self.filling.done() or not self.wanted
            )
            if image_id not in self._rows:
                self.require_wanted()
                self.filling.result()
            return self._rows[image_id]

    def __iter__(self) -> Iterator[str]:
        self.filling.result()
        return iter(self._rows)

    def __len__(self) -> int:
        self.filling.result()
        return len(self._rows)
