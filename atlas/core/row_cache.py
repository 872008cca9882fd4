"""Rows of equal shape in HDF5 parts: what images, embeddings and evidence are stored in.

A row is known by its id and its key, which says what it was made from. What is stored once is never
made again: later calls add parts for what is new, wherever it stands among the ids. Axis N: rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, overload

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from atlas.core.files import content_hash, json_text, remove_left_over, written_beside
from atlas.core.timing import stage

ROWS_PER_PART = 1000
PART_BYTES = 32 * 2**20
SHOWN_AFTER_S = 0.5
CACHE_NAME = "store"

MakeRows = Callable[[Sequence[str]], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class PartStore:
    """The rows of some ids. provenance: what they were made from; places: by id."""

    folder: Path
    ids: tuple[str, ...]
    provenance: dict[str, Any]
    places: Mapping[str, Place]

    def read(self, ids: Sequence[str]) -> NDArray[Any]:
        """The rows of these ids, in their order, N x ...; raises KeyError for an id not stored."""
        wanted: defaultdict[Path, list[tuple[int, int]]] = defaultdict(list)
        for n, image_id in enumerate(ids):
            place = self.places[image_id]
            wanted[place.path].append((n, place.offset))
        if not wanted:
            raise KeyError("no ids asked for")
        with stage("reading parts", items=len(ids)):
            return _rows_of(wanted, len(ids))

    def only(self, ids: Sequence[str]) -> PartStore:
        """Of these ids alone: little to send to another process, which reads them itself. Raises
        KeyError for an id not stored."""
        return replace(self, ids=tuple(ids), places={i: self.places[i] for i in ids})

    def row_hashes(self, ids: Sequence[str]) -> RowHashes:
        """Of the content of each; looking at one raises KeyError for an id not stored."""
        return RowHashes(self.places, ids)

    @cached_property
    def content_hash(self) -> str:
        """Of ids and rows."""
        return content_hash(*self.ids, *self.row_hashes(self.ids))


class RowHashes(Sequence[str]):
    """Looked up when they are looked at, as rows may still be in the making."""

    def __init__(self, places: Mapping[str, Place], ids: Sequence[str]) -> None:
        self._places, self._ids = places, ids

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> RowHashes: ...

    def __getitem__(self, at: int | slice) -> str | RowHashes:
        if isinstance(at, slice):
            return RowHashes(self._places, self._ids[at])
        return self._places[self._ids[at]].row_hash


def cache_folder(out: Path) -> Path:
    """Return the folder in which work on `out` is kept row by row: `store`, beside `out`."""
    return out.parent / CACHE_NAME


def rows_that_fit(row_bytes: int) -> int:
    """Rows of a part: no more than fit into PART_BYTES, as two parts are held in memory."""
    return max(1, min(ROWS_PER_PART, PART_BYTES // row_bytes))


def fill_parts(
    folder: Path,
    ids: Sequence[str],
    make_rows: MakeRows,
    *,
    provenance: dict[str, Any],
    description: str,
    keys: Sequence[str] | None = None,
    rows_per_part: int = ROWS_PER_PART,
    rows_at_once: int | None = None,
    tell: Tell = lambda places: None,
) -> PartStore:
    """Makes the rows that are not there yet and returns the store of all.

    make_rows: ids -> their rows, N x ...
    provenance: what all rows are made from; parts of another one in the folder are removed.
    keys: what each row is made from besides; nothing else, unless given. They are looked at as
        their rows come up, so those of later ones may still be in the making.
    rows_per_part: see `rows_that_fit`.
    rows_at_once: that are asked for; a divisor of a part's. None asks for a part's.
    tell: is given the places of rows as soon as they are there, by any thread.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_left_over(folder, ".part-*.part.h5")
    names = zip(ids, [""] * len(ids) if keys is None else keys, strict=True)
    known = known_rows(folder, provenance)
    places: dict[str, Place] = {}

    def note(found: Mapping[str, Place]) -> None:
        places.update(found)
        tell(found)

    with (
        # Shown only where it takes time.
        tqdm(total=len(ids), desc=description, unit="img", delay=SHOWN_AFTER_S) as bar,
        PartWriter(folder, provenance, rows_per_part, note) as writer,
    ):
        at_once = min(rows_at_once or rows_per_part, rows_per_part)
        for block in _missing(names, known, note, bar, at_once):
            writer.add(block, make_rows([image_id for image_id, _ in block]))
            bar.update(len(block))
    return PartStore(folder=folder, ids=tuple(ids), provenance=provenance, places=places)


def _missing(
    names: Iterable[RowName], known: dict[RowName, Place], note: Tell, bar: Any, at_once: int
) -> Iterator[list[RowName]]:
    """Names of rows that are to be made, each once; of the others it is noted where they are."""
    block: dict[RowName, None] = {}
    made: set[RowName] = set()
    for name in names:
        if name in known:
            note({name[0]: known[name]})
            bar.update()
        elif name not in made:
            block[name] = None
            made.add(name)
        if len(block) == at_once:
            yield list(block)
            block.clear()
    if block:
        yield list(block)


def _rows_of(wanted: Mapping[Path, Sequence[tuple[int, int]]], count: int) -> NDArray[Any]:
    """wanted: of each part which of its rows is to be which, as (n, offset)."""
    rows: NDArray[Any] | None = None
    for path, from_part in wanted.items():
        with h5py.File(path, "r") as file:
            stored = file["rows"]
            if rows is None:
                rows = np.empty((count, *stored.shape[1:]), stored.dtype)
            # h5py indexes by a list a hundred times slower than this, and read_direct of a single
            # row costs twice as much as the copy.
            for n, offset, length in _runs(from_part):
                if length == 1:
                    rows[n] = stored[offset]
                else:
                    read, put = slice(offset, offset + length), slice(n, n + length)
                    stored.read_direct(rows, read, put)
    assert rows is not None
    return rows


def _runs(from_part: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(n, offset, length) of what lies one behind the other in the part and is wanted so."""
    start = 0
    for end in range(1, len(from_part) + 1):
        n, offset = from_part[start]
        length = end - start
        if end == len(from_part) or from_part[end] != (n + length, offset + length):
            yield n, offset, length
            start = end


# The files of parts: each is written beside and renamed when complete, while the next one is made.
#
# A killed run loses the part that is being made and perhaps the one that is being written; it never
# leaves a broken file.


RowName = tuple[str, str]  # id and key


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a row lies. row_hash: of its content."""

    path: Path
    offset: int
    row_hash: str


Tell = Callable[[Mapping[str, Place]], None]  # by id


def known_rows(folder: Path, provenance: dict[str, Any]) -> dict[RowName, Place]:
    """Of all sound parts; what is cut off or was made otherwise is removed."""
    known: dict[RowName, Place] = {}
    for path in sorted(folder.glob("part-*.h5")):
        found = _places_in(path, provenance)
        if found is None:
            path.unlink(missing_ok=True)
        else:
            known |= found
    return known


def _places_in(path: Path, provenance: dict[str, Any]) -> dict[RowName, Place] | None:
    try:
        with h5py.File(path, "r") as file:
            if str(file.attrs["provenance"]) != json_text(provenance):
                return None
            columns = [[text.decode() for text in file[c][:]] for c in ("ids", "keys", "hashes")]
    except (OSError, KeyError):
        return None
    return {
        (image_id, key): Place(path=path, offset=offset, row_hash=row_hash)
        for offset, (image_id, key, row_hash) in enumerate(zip(*columns, strict=True))
    }


class PartWriter:
    """Gathers rows and writes each part beside the making of the next: two are held in memory."""

    def __init__(
        self, folder: Path, provenance: dict[str, Any], rows_per_part: int, note: Tell
    ) -> None:
        self.folder, self.provenance, self.note = folder, provenance, note
        self.rows_per_part = rows_per_part
        self._names: list[RowName] = []
        self._rows: list[NDArray[Any]] = []
        self._pool = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """After an error only the part that is being written is finished."""
        try:
            if kind is None and self._names:
                self._begin()
            if kind is None and self._written:
                self._written.result()
        finally:
            self._pool.shutdown()

    def add(self, names: Sequence[RowName], rows: NDArray[Any]) -> None:
        self._names += names
        self._rows.append(rows)
        if len(self._names) >= self.rows_per_part:
            self._begin()

    def _begin(self) -> None:
        if self._written:
            self._written.result()
        rows = self._rows[0] if len(self._rows) == 1 else np.concatenate(self._rows)
        self._written = self._pool.submit(self._write, self._names, rows)
        self._names, self._rows = [], []

    def _write(self, names: Sequence[RowName], rows: NDArray[Any]) -> None:
        written = _write_part(self.folder, names, rows, self.provenance)
        self.note({image_id: place for (image_id, _), place in written.items()})


def _write_part(
    folder: Path, names: Sequence[RowName], rows: NDArray[Any], provenance: dict[str, Any]
) -> dict[RowName, Place]:
    """Named by what it holds, so that two runs that write at once never overwrite one another."""
    path = folder / f"part-{content_hash(*('|'.join(name) for name in names))}.h5"
    with (
        stage("writing parts", items=len(rows)),
        written_beside(path) as beside,
        h5py.File(beside, "w") as file,
    ):
        hashes = [content_hash(row) for row in rows]
        for column, texts in zip(("ids", "keys"), zip(*names, strict=True), strict=True):
            file[column] = np.array([text.encode() for text in texts], dtype="S")
        file["hashes"] = np.array([text.encode() for text in hashes])
        # Images are read one by one, so each is a chunk; short rows lie one behind the other. No
        # codec: the quickest save a third of the room and read three times as slowly, see
        # benchmarks/store_reads.py.
        chunks = (1, *rows.shape[1:]) if rows.ndim > 2 else None
        file.create_dataset("rows", data=rows, chunks=chunks)
        file.attrs["provenance"] = json_text(provenance)
    return {
        name: Place(path=path, offset=offset, row_hash=row_hash)
        for offset, (name, row_hash) in enumerate(zip(names, hashes, strict=True))
    }
