"""The row cache: rows of equal shape in row files. Each row is computed once and found by its id.

The row cache keeps images, embeddings, hashes and registration scores. A row is identified by its
id and its key; the key says what the row was made from. Later calls add files for new rows,
wherever their ids stand in the list. Each file is written under a temporary name and renamed when
it is complete, while the rows of the next file are computed. A killed run therefore loses at most
the file whose rows are being computed and the file that is being written, and never leaves a
broken file. Every row is compared with its checksum when it is read. A damaged file is removed, and
its rows are computed again.

Axis N: rows.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atlas.core.checksums import checksum
from atlas.core.execution import current_cluster, current_share
from atlas.core.files import content_hash, json_text, sweep_folder
from atlas.core.healing import DamagedCacheError
from atlas.core.progress import Progress, progress
from atlas.core.row_file import ROWS, DamagedFileError, open_row_file
from atlas.core.row_work import (
    Executor,
    Here,
    IdAndKey,
    MakeRows,
    Places,
    RowMaker,
    RowWork,
    StoredRow,
    own_files,
    places_in,
)
from atlas.core.shared_rows import LateKeys, SharedRows
from atlas.core.timing import stage

LOGGER = logging.getLogger(__name__)
ROWS_PER_FILE = 1000
FILE_BYTES = 32 * 2**20
CACHE_NAME = "store"


OnStored: TypeAlias = Callable[[Mapping[str, StoredRow]], None]


@dataclass(frozen=True, kw_only=True)
class RowCache:
    """The stored rows of some ids.

    Attributes:
        folder: The folder of the files.
        ids: The ids in order.
        provenance: What the rows were made from.
        rows: The place of each row, by id.
    """

    folder: Path
    ids: tuple[str, ...]
    provenance: dict[str, Any]
    rows: Mapping[str, StoredRow]

    def read(self, ids: Sequence[str]) -> NDArray[Any]:
        """Return the rows of these ids in their order, N x ...

        Raises:
            KeyError: An id has no row, or there are no ids.
            DamagedCacheError: A file is damaged. All damaged files of the folder are removed.
        """
        wanted: defaultdict[Path, list[tuple[int, int]]] = defaultdict(list)
        for n, image_id in enumerate(ids):
            row = self.rows[image_id]
            wanted[row.path].append((n, row.offset))
        if not wanted:
            raise KeyError("no ids were given")
        with stage("reading rows", items=len(ids)):
            try:
                return _read_rows(wanted, len(ids), [self.rows[i].row_hash for i in ids])
            except (DamagedFileError, FileNotFoundError) as error:
                remove_damaged(self.folder)
                raise DamagedCacheError(self.folder) from error

    def only(self, ids: Sequence[str]) -> "RowCache":
        """Return the cache of these ids alone, which is quick to send to another process.

        Raises:
            KeyError: An id has no row.
        """
        return replace(self, ids=tuple(ids), rows={i: self.rows[i] for i in ids})

    def row_hashes(self, ids: Sequence[str]) -> Sequence[str]:
        """Return the content hash of each row.

        Accessing the hash of an id without a row raises KeyError.
        """
        return _RowHashes(self.rows, ids)

    @cached_property
    def content_hash(self) -> str:
        """The hash of all ids and rows."""
        return content_hash(*self.ids, *self.row_hashes(self.ids))


def cache_folder(out: Path) -> Path:
    """Return the folder of the row cache for `out`, which is `store` beside `out`."""
    return out.parent / CACHE_NAME


def remove_damaged(folder: Path) -> None:
    """Remove all damaged files of a row cache, after reading every row."""
    for path in folder.glob("part-*.h5"):
        try:
            file = open_row_file(path)
            places_in(file)
            file.rows()
        except FileNotFoundError:
            continue
        except DamagedFileError:
            path.unlink(missing_ok=True)


def rows_that_fit(row_bytes: int) -> int:
    """Return the number of rows of a file, which may not exceed FILE_BYTES.

    Two files are held in memory at the same time.
    """
    return max(1, min(ROWS_PER_FILE, FILE_BYTES // row_bytes))


def stored_rows(folder: Path, names: Iterable[IdAndKey], *, provenance: dict[str, Any]) -> RowCache:
    """Return the cache of those ids and keys whose rows are stored; nothing is computed."""
    known = _stored_in(folder, provenance)
    rows = {image_id: known[image_id, key] for image_id, key in names if (image_id, key) in known}
    return RowCache(folder=folder, ids=tuple(rows), provenance=provenance, rows=rows)


def fill_rows(
    folder: Path,
    ids: Sequence[str],
    make_rows: MakeRows,
    *,
    provenance: dict[str, Any],
    description: str,
    keys: Sequence[str] | None = None,
    rows_per_file: int = ROWS_PER_FILE,
    rows_at_once: int | None = None,
    on_stored: OnStored = lambda rows: None,
) -> RowCache:
    """Compute the rows that are not stored yet, and return the cache of all rows.

    Args:
        folder: The folder of the files.
        ids: The ids of all rows.
        make_rows: A function from ids to their rows, N x ... If it is a `RowMaker`, the workers of
            a cluster may call it, see `executing`.
        provenance: What all rows are made from. Files in the folder with another provenance are
            removed.
        description: The name of the work in progress messages.
        keys: What else each row is made from; by default nothing. A key is read when its row is
            due, so the keys of later rows may still be in the making.
        rows_per_file: See `rows_that_fit`.
        rows_at_once: The number of rows of each call of `make_rows`, a divisor of `rows_per_file`.
            By default it is `rows_per_file`.
        on_stored: A function that is called with the places of rows as soon as they are stored,
            from any thread.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep_folder(folder)
    keys = [""] * len(ids) if keys is None else keys
    at_once = min(rows_at_once or rows_per_file, rows_per_file)
    work = RowWork(
        folder=folder, make_rows=make_rows, provenance=provenance, rows_per_file=rows_per_file,
        rows_at_once=at_once,
    )  # fmt: skip
    known = _stored_in(folder, provenance)
    rows = _rows_to_fill(work, ids, keys)
    shared = rows if isinstance(rows, SharedRows) else None
    names = zip(ids, keys, strict=True) if shared is None else shared.own_names()

    def note(found: Mapping[str, StoredRow]) -> None:
        rows.update(found)
        on_stored(found)

    def note_written(written: Places) -> None:
        note({image_id: row for (image_id, _), row in written.items()})

    if kept := _kept_before(ids, keys, known):
        LOGGER.info(f"{description}: {kept:,} of {len(ids):,} images were done before")
    with progress(description, total=len(ids if shared is None else shared.own)) as shown:
        missing = _missing(names, known, note, shown, at_once)
        _executor_of(work).fill(work, missing, shown, note_written)
    return RowCache(folder=folder, ids=tuple(ids), provenance=provenance, rows=rows)


def _rows_to_fill(work: RowWork, ids: Sequence[str], keys: Sequence[str]) -> dict[str, StoredRow]:
    """Return where the places of rows are noted.

    With `--part`, only a share is computed of the rows that other machines could compute. Other
    work is small, or needs the rows of all parts.
    """
    share = current_share()
    if share is None or not isinstance(work.make_rows, RowMaker):
        return {}
    return SharedRows(ids, keys, share, partial(_stored_in, work.folder, work.provenance))


def _executor_of(work: RowWork) -> Executor:
    cluster = current_cluster()
    return cluster if cluster and isinstance(work.make_rows, RowMaker) else Here()


class _RowHashes(LateKeys):
    """The hashes of rows, which are looked up late because rows may still be in the making."""

    def __init__(self, rows: Mapping[str, StoredRow], ids: Sequence[str]) -> None:
        self._rows, self._ids = rows, ids

    @property
    def all_there(self) -> bool:
        return type(self._rows) is dict

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, at: Any) -> Any:
        return self._rows[self._ids[at]].row_hash

    def known(self, at: int) -> str | None:
        if not isinstance(self._rows, SharedRows):
            return str(self[at])
        row = self._rows.get(self._ids[at])
        return row and row.row_hash

    def refresh(self) -> None:
        if isinstance(self._rows, SharedRows):
            self._rows.refresh()


def _kept_before(ids: Sequence[str], keys: Sequence[str], known: Places) -> int:
    """Return the number of rows that an earlier run has stored, or 0 if all rows are stored.

    Keys that are still in the making are not waited for; their rows are counted by id.
    """
    if type(keys) is list or getattr(keys, "all_there", False):
        names: list[Any] = list(zip(ids, keys, strict=True))
        paths: dict[Any, Path] = {name: row.path for name, row in known.items()}
    else:
        names, paths = list(ids), {image_id: row.path for (image_id, _), row in known.items()}
    found = [paths[name] for name in names if name in paths]
    if len(found) == len(names):
        return 0
    return sum(path not in own_files for path in found)


def _missing(
    names: Iterable[IdAndKey],
    known: Mapping[IdAndKey, StoredRow],
    note: OnStored,
    shown: Progress,
    at_once: int,
) -> Iterator[list[IdAndKey]]:
    """Yield blocks of rows to compute, each row once, and note the places of the others."""
    block: list[IdAndKey] = []
    made: set[IdAndKey] = set()
    for name in names:
        if name in known:
            note({name[0]: known[name]})
            shown.skip()
        elif name in made:
            shown.skip()
        else:
            block.append(name)
            made.add(name)
        if len(block) == at_once:
            yield block
            block = []
    if block:
        yield block


def _stored_in(folder: Path, provenance: dict[str, Any]) -> dict[IdAndKey, StoredRow]:
    """Return the rows of all valid files, and remove files that are damaged or out of date."""
    known: dict[IdAndKey, StoredRow] = {}
    wanted = json.loads(json_text(provenance))
    for path in sorted(folder.glob("part-*.h5")):
        try:
            file = open_row_file(path)
            if file.provenance == wanted:
                known |= places_in(file)
                continue
        except DamagedFileError:
            LOGGER.warning(f"{path} was damaged; its rows are computed again")
        except FileNotFoundError:
            continue  # another process has removed it
        path.unlink(missing_ok=True)
    return known


def _read_rows(
    wanted: Mapping[Path, Sequence[tuple[int, int]]], count: int, hashes: Sequence[str]
) -> NDArray[Any]:
    """Return rows from several files.

    Args:
        wanted: For each file, pairs of (position in the result, position in the file).
        count: The number of rows.
        hashes: The checksum of each row of the result.
    """
    rows: NDArray[Any] | None = None
    for path, from_file in wanted.items():
        file = open_row_file(path)
        stored = file.datasets[ROWS]
        if rows is None:
            rows = np.empty((count, *stored.shape[1:]), stored.type)
        if max(at for _, at in from_file) >= stored.shape[0]:
            raise DamagedFileError(path)
        file.read_rows_into(rows, list(_runs(from_file)))
        for n, _ in from_file:
            if checksum(rows[n]) != hashes[n]:
                raise DamagedFileError(path)
    assert rows is not None
    return rows


def _runs(from_file: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (n, offset, length) of rows that are consecutive in the file and in the result."""
    start = 0
    for end in range(1, len(from_file) + 1):
        n, offset = from_file[start]
        length = end - start
        if end == len(from_file) or from_file[end] != (n + length, offset + length):
            yield n, offset, length
            start = end
