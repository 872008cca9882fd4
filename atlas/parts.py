"""Rows of equal shape in HDF5 parts: what images, embeddings and evidence are stored in.

A row is known by its id and its key, which says what it was made from. What is stored once is never
made again: later calls add parts for what is new, wherever it stands among the ids. Axis N: rows.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from atlas.files import content_hash, remove_left_over
from atlas.part_files import PartWriter, Place, RowName, Tell, known_rows
from atlas.profiling import stage

ROWS_PER_PART = 1000
PART_BYTES = 32 * 2**20
SHOWN_AFTER_S = 0.5

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

    def only(self, ids: Sequence[str]) -> "PartStore":
        """Of these ids alone: little to send to another process, which reads them itself. Raises
        KeyError for an id not stored."""
        return replace(self, ids=tuple(ids), places={i: self.places[i] for i in ids})

    def row_hashes(self, ids: Sequence[str]) -> "RowHashes":
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
    def __getitem__(self, at: slice) -> "RowHashes": ...

    def __getitem__(self, at: "int | slice") -> "str | RowHashes":
        if isinstance(at, slice):
            return RowHashes(self._places, self._ids[at])
        return self._places[self._ids[at]].row_hash


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
