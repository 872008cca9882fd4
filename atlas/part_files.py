"""The files of parts: each is written beside and renamed when complete, while the next one is made.

A killed run loses the part that is being made and perhaps the one that is being written; it never
leaves a broken file.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from atlas.files import content_hash, json_text, written_beside
from atlas.profiling import stage

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
