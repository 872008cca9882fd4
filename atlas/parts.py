"""Rows of equal shape in HDF5 parts of about 1,000: what images and embeddings are stored in.

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
from atlas.files import content_hash, json_text, written_beside

ROWS_PER_PART = 1000

MakeRows = Callable[[Sequence[str]], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class PartStore:
    """A complete store. ids: in stored order; provenance: what it was made from."""

    folder: Path
    ids: tuple[str, ...]
    provenance: dict[str, Any]

    @cached_property
    def position(self) -> dict[str, int]:
        return {image_id: n for n, image_id in enumerate(self.ids)}

    def read(self, ids: Sequence[str]) -> NDArray[Any]:
        """The rows of these ids, in their order, N x ...; raises KeyError for an id not stored."""
        positions = np.array([self.position[image_id] for image_id in ids], dtype=np.int64)
        rows: NDArray[Any] | None = None
        for part in np.unique(positions // ROWS_PER_PART):
            with h5py.File(part_path(self.folder, int(part)), "r") as file:
                stored = file["rows"]
                if rows is None:
                    rows = np.empty((len(ids), *stored.shape[1:]), stored.dtype)
                for n in np.flatnonzero(positions // ROWS_PER_PART == part):
                    # One read_direct a row: h5py's list indexing is some 50 times slower.
                    stored.read_direct(
                        rows, np.s_[int(positions[n]) % ROWS_PER_PART], np.s_[int(n)]
                    )
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
        for part in range(part_count(len(self.ids))):
            with h5py.File(part_path(self.folder, part), "r") as file:
                hashes.append(str(file.attrs["content_hash"]))
        return content_hash(*hashes)


def part_path(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.h5"


def part_count(rows: int) -> int:
    return -(-rows // ROWS_PER_PART)


def fill_parts(
    folder: Path,
    ids: Sequence[str],
    make_rows: MakeRows,
    *,
    provenance: dict[str, Any],
    description: str,
) -> PartStore:
    """Makes the parts that are not there yet and returns the complete store.

    make_rows: ids of one part -> its rows, N x ...
    provenance: goes into every part; parts of another provenance or other ids are made anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(ids), ROWS_PER_PART)
    done = [_is_done(folder, ids, start, provenance) for start in starts]
    with tqdm(total=len(ids), desc=description, unit="img", disable=all(done)) as bar:
        for start, is_done in zip(starts, done, strict=True):
            part_ids = ids[start : start + ROWS_PER_PART]
            if not is_done:
                _write_part(
                    folder, start // ROWS_PER_PART, part_ids, make_rows(part_ids), provenance
                )
            bar.update(len(part_ids))
    for stale in sorted(folder.glob("part-*.h5"))[len(starts) :]:
        stale.unlink()
    return PartStore(folder=folder, ids=tuple(ids), provenance=provenance)


def open_parts(folder: Path) -> PartStore:
    """A complete store from its folder. Raises UserError where a part is missing."""
    ids: list[str] = []
    provenance: dict[str, Any] = {}
    paths = sorted(folder.glob("part-*.h5"))
    for n, path in enumerate(paths):
        if path != part_path(folder, n):
            raise UserError(
                f"{folder}: part {n} is missing; make it again with the command that made it"
            )
        with h5py.File(path, "r") as file:
            ids += [name.decode() for name in file["ids"][:]]
            provenance = json.loads(file.attrs["provenance"])
    if not paths:
        raise UserError(
            f"{folder}: no stored parts there; make it again with the command that made it"
        )
    return PartStore(folder=folder, ids=tuple(ids), provenance=provenance)


def _write_part(
    folder: Path, part: int, ids: Sequence[str], rows: NDArray[Any], provenance: dict[str, Any]
) -> None:
    with written_beside(part_path(folder, part)) as beside, h5py.File(beside, "w") as file:
        file["ids"] = np.array([image_id.encode() for image_id in ids])
        file.create_dataset(
            "rows", data=rows, chunks=(1, *rows.shape[1:]) if rows.ndim > 2 else None
        )
        file.attrs["provenance"] = json_text(provenance)
        file.attrs["content_hash"] = content_hash("|".join(ids), rows)


def _is_done(folder: Path, ids: Sequence[str], start: int, provenance: dict[str, Any]) -> bool:
    path = part_path(folder, start // ROWS_PER_PART)
    wanted = [image_id.encode() for image_id in ids[start : start + ROWS_PER_PART]]
    if not path.exists():
        return False
    with h5py.File(path, "r") as file:
        same_ids = list(file["ids"][:]) == wanted
        return bool(same_ids and file.attrs["provenance"] == json_text(provenance))
