"""Rows of equal shape in HDF5 parts: what images, embeddings and evidence are stored in.

A row is known by its id and its key, which says what it was made from. What is stored once is never
made again: later calls add parts for what is new, wherever it stands among the ids. A part is
written beside and renamed when complete, so a killed run loses at most one. Axis N: rows.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from atlas.files import content_hash, json_text, remove_left_over, written_beside
from atlas.profiling import stage

ROWS_PER_PART = 1000
PART_BYTES = 64 * 2**20

MakeRows = Callable[[Sequence[str]], NDArray[Any]]
RowName = tuple[str, str]  # id and key


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a row lies. row_hash: of its content."""

    path: Path
    offset: int
    row_hash: str


@dataclass(frozen=True, kw_only=True)
class PartStore:
    """The rows of some ids, all there. provenance: what they were made from."""

    folder: Path
    ids: tuple[str, ...]
    provenance: dict[str, Any]
    places: dict[str, Place]

    def read(self, ids: Sequence[str]) -> NDArray[Any]:
        """The rows of these ids, in their order, N x ...; raises KeyError for an id not stored."""
        wanted: defaultdict[Path, list[tuple[int, int]]] = defaultdict(list)
        for n, image_id in enumerate(ids):
            place = self.places[image_id]
            wanted[place.path].append((n, place.offset))
        rows: NDArray[Any] | None = None
        for path, from_part in wanted.items():
            with h5py.File(path, "r") as file:
                stored = file["rows"]
                if rows is None:
                    rows = np.empty((len(ids), *stored.shape[1:]), stored.dtype)
                # One read_direct a row: h5py's list indexing is some 50 times slower.
                for n, offset in from_part:
                    stored.read_direct(rows, np.s_[offset], np.s_[n])
        if rows is None:
            raise KeyError("no ids asked for")
        return rows

    def row_hashes(self, ids: Sequence[str]) -> list[str]:
        """Of the content of each; KeyError for an id not stored."""
        return [self.places[image_id].row_hash for image_id in ids]

    @cached_property
    def content_hash(self) -> str:
        """Of ids and rows."""
        return content_hash(*self.ids, *self.row_hashes(self.ids))


def rows_that_fit(row_bytes: int) -> int:
    """Rows of a part: no more than fit into PART_BYTES, as a part is held in memory."""
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
) -> PartStore:
    """Makes the rows that are not there yet and returns the store of all.

    make_rows: ids of one part -> its rows, N x ...
    provenance: what all rows are made from; parts of another one in the folder are removed.
    keys: what each row is made from besides; nothing else, unless given.
    rows_per_part: see `rows_that_fit`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_left_over(folder, ".part-*.part.h5")
    names = list(zip(ids, [""] * len(ids) if keys is None else keys, strict=True))
    known = _known_rows(folder, provenance)
    missing = [name for name in dict.fromkeys(names) if name not in known]
    with tqdm(total=len(ids), desc=description, unit="img", disable=not missing) as bar:
        bar.update(len(ids) - len(missing))
        for start in range(0, len(missing), rows_per_part):
            block = missing[start : start + rows_per_part]
            # Not held by a name here: the next part would be made beside it in memory.
            known |= _write_part(folder, block, make_rows([i for i, _ in block]), provenance)
            bar.update(len(block))
    return PartStore(
        folder=folder,
        ids=tuple(ids),
        provenance=provenance,
        places={name[0]: known[name] for name in names},
    )


def _known_rows(folder: Path, provenance: dict[str, Any]) -> dict[RowName, Place]:
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
        # Images are read one by one, so each is a chunk; short rows lie one behind the other.
        chunks = (1, *rows.shape[1:]) if rows.ndim > 2 else None
        file.create_dataset("rows", data=rows, chunks=chunks)
        file.attrs["provenance"] = json_text(provenance)
    return {
        name: Place(path=path, offset=offset, row_hash=row_hash)
        for offset, (name, row_hash) in enumerate(zip(names, hashes, strict=True))
    }
