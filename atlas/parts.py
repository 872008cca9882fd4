"""Rows of equal shape in HDF5 parts: what images, embeddings and evidence are stored in.

A part is written beside and renamed when complete, so a killed run loses at most one part and the
next run goes on behind it. Axis N: rows, in the order of the ids.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from atlas.errors import UserError
from atlas.files import content_hash, json_text, remove_left_over, written_beside

ROWS_PER_PART = 1000
PART_BYTES = 64 * 2**20

MakeRows = Callable[[Sequence[str]], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class PartStore:
    """A complete store.

    ids: in stored order. provenance: what it was made from. rows_per_part: of every part but the
    last, which may hold fewer.
    """

    folder: Path
    ids: tuple[str, ...]
    provenance: dict[str, Any]
    rows_per_part: int

    @cached_property
    def position(self) -> dict[str, int]:
        return {image_id: n for n, image_id in enumerate(self.ids)}

    def read(self, ids: Sequence[str]) -> NDArray[Any]:
        """The rows of these ids, in their order, N x ...; raises KeyError for an id not stored."""
        positions = np.array([self.position[image_id] for image_id in ids], dtype=np.int64)
        parts, offsets = np.divmod(positions, self.rows_per_part)
        rows: NDArray[Any] | None = None
        for part in np.unique(parts):
            with h5py.File(part_path(self.folder, int(part)), "r") as file:
                stored = file["rows"]
                if rows is None:
                    rows = np.empty((len(ids), *stored.shape[1:]), stored.dtype)
                for n in np.flatnonzero(parts == part):
                    # One read_direct a row: h5py's list indexing is some 50 times slower.
                    stored.read_direct(rows, np.s_[int(offsets[n])], np.s_[int(n)])
        if rows is None:
            raise KeyError("no ids asked for")
        return rows

    @property
    def row_shape(self) -> tuple[int, ...]:
        with h5py.File(part_path(self.folder, 0), "r") as file:
            return tuple(file["rows"].shape[1:])

    @cached_property
    def content_hash(self) -> str:
        """Of ids and rows, part by part."""
        hashes = []
        for part in range(part_count(len(self.ids), self.rows_per_part)):
            with h5py.File(part_path(self.folder, part), "r") as file:
                hashes.append(str(file.attrs["content_hash"]))
        return content_hash(*hashes)


def part_path(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.h5"


def part_count(rows: int, rows_per_part: int) -> int:
    return -(-rows // rows_per_part)


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
    rows_per_part: int = ROWS_PER_PART,
) -> PartStore:
    """Makes the parts that are not there yet and returns the complete store.

    make_rows: ids of one part -> its rows, N x ...
    provenance: goes into every part; parts of another provenance or other ids are made anew.
    rows_per_part: see `rows_that_fit`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_left_over(folder, ".part-*.part.h5")
    blocks = [ids[start : start + rows_per_part] for start in range(0, len(ids), rows_per_part)]
    done = [_is_done(part_path(folder, n), block, provenance) for n, block in enumerate(blocks)]
    with tqdm(total=len(ids), desc=description, unit="img", disable=all(done)) as bar:
        for n, (block, is_done) in enumerate(zip(blocks, done, strict=True)):
            if not is_done:
                _write_part(part_path(folder, n), block, make_rows(block), provenance)
            bar.update(len(block))
    for stale in sorted(folder.glob("part-*.h5"))[len(blocks) :]:
        stale.unlink()
    return PartStore(
        folder=folder, ids=tuple(ids), provenance=provenance, rows_per_part=rows_per_part
    )


def open_parts(folder: Path) -> PartStore:
    """A complete store from its folder. Raises UserError where a part is missing or broken."""
    again = "make it again with the command that made it"
    ids: list[str] = []
    provenance: dict[str, Any] = {}
    rows_per_part = 0
    for n, path in enumerate(sorted(folder.glob("part-*.h5"))):
        stored = _head(path) if path == part_path(folder, n) else None
        if stored is None or len(ids) != n * rows_per_part:
            raise UserError(f"{folder}: part {n} is missing or broken; {again}")
        part_ids, text = stored
        rows_per_part = rows_per_part or len(part_ids)
        ids += part_ids
        provenance = json.loads(text)
    if not ids:
        raise UserError(f"{folder}: no stored parts there; {again}")
    return PartStore(
        folder=folder, ids=tuple(ids), provenance=provenance, rows_per_part=rows_per_part
    )


def _write_part(
    path: Path, ids: Sequence[str], rows: NDArray[Any], provenance: dict[str, Any]
) -> None:
    with written_beside(path) as beside, h5py.File(beside, "w") as file:
        file["ids"] = np.array([image_id.encode() for image_id in ids])
        # Images are read one by one, so each is a chunk; short rows lie one behind the other.
        chunks = (1, *rows.shape[1:]) if rows.ndim > 2 else None
        file.create_dataset("rows", data=rows, chunks=chunks)
        file.attrs["provenance"] = json_text(provenance)
        file.attrs["content_hash"] = content_hash("|".join(ids), rows)


def _is_done(path: Path, ids: Sequence[str], provenance: dict[str, Any]) -> bool:
    stored = _head(path)
    return stored is not None and stored == (list(ids), json_text(provenance))


def _head(path: Path) -> tuple[list[str], str] | None:
    """Ids and provenance of a part; None where it is not there or cut off."""
    if not path.exists():
        return None
    try:
        with h5py.File(path, "r") as file:
            ids = [name.decode() for name in file["ids"][:]]
            return ids, str(file.attrs["provenance"])
    except (OSError, KeyError):
        return None
