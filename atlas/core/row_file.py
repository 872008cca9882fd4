"""Row files: rows of equal shape with texts for each row, in HDF5, protected by checksums.

A row file is an HDF5 file with a dataset `rows`, a dataset for each list of texts (such as `ids`)
and a dataset `provenance`, which holds JSON. Other programs open it like any HDF5 file.

HDF5 has no checksum for most of its own structures: a damaged file can give other values, crash
the process or never return. This project therefore never passes a file to HDF5 to read it. The
block that HDF5 leaves to its users at the start of a file (the user block) holds a header with the
place and the checksum of each dataset, and is protected by a checksum itself. Datasets are read at
their place, which is also faster, and are compared with their checksums.

The file is written through Python, because HDF5 ends the process if the disk is full.

Axis N: rows.
"""

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from atlas.core.checksums import DIGITS, checksum
from atlas.core.errors import UserError
from atlas.core.files import json_text, written_beside

MAGIC = b"atlas rows 1\n"
ROWS, PROVENANCE = "rows", "provenance"
SMALLEST_BLOCK = 512  # bytes of a user block, which is a power of two
LENGTH_DIGITS = 8
LARGEST_OFFSET = 10**15  # headers are planned with it, before the places are known
TYPES = "biufS"  # the kinds of values that files may hold


class DamagedFileError(UserError):
    """A file was changed or damaged after it was written.

    Args:
        path: The file.
        how: What is wrong, as the end of a sentence.
    """

    def __init__(self, path: Path, how: str = "was changed or damaged after it was written"):
        self.path, self.how = path, how
        super().__init__(f"{path} {how}")

    def __reduce__(self) -> tuple[type["DamagedFileError"], tuple[Path, str]]:
        """Return what another process needs to rebuild this error."""
        return type(self), (self.path, self.how)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The place of a dataset in a row file.

    Attributes:
        offset: The offset of the first byte.
        type: The type of the values, as NumPy writes it.
        shape: The shape; axis 0 is N.
        checksum: The checksum of all values.
    """

    offset: int
    type: str
    shape: tuple[int, ...]
    checksum: str

    @property
    def row_bytes(self) -> int:
        """The number of bytes of one row."""
        return int(np.dtype(self.type).itemsize * np.prod(self.shape[1:], dtype=np.int64))

    @property
    def bytes(self) -> int:
        """The number of bytes of all rows."""
        return self.shape[0] * self.row_bytes


@dataclass(frozen=True, kw_only=True)
class RowFile:
    """The header of a row file, whose checksum has been verified.

    Attributes:
        path: The file.
        provenance: What the rows were made from.
        datasets: The datasets by name.
        checksum: The checksum of the header. It covers the checksums of all datasets, so it stands
            for the whole file.
    """

    path: Path
    provenance: dict[str, Any]
    datasets: Mapping[str, Dataset]
    checksum: str

    def texts(self, name: str) -> list[str]:
        """Return the texts of this name, one for each row.

        Raises:
            DamagedFileError: They do not have their checksum.
        """
        return [text.decode(errors="surrogateescape") for text in self._read(name).tolist()]

    def rows(self) -> NDArray[Any]:
        """Return all rows, N x ...

        Raises:
            DamagedFileError: They do not have their checksum.
        """
        return self._read(ROWS)

    def read_rows_into(self, rows: NDArray[Any], runs: Sequence[tuple[int, int, int]]) -> None:
        """Read runs of rows into an array. The caller compares them with their own checksums.

        Args:
            rows: The array, of the type and row shape of the file.
            runs: The first row in the array, the first row in the file, and the number of rows.

        Raises:
            DamagedFileError: The file has become shorter.
        """
        place = self.datasets[ROWS]
        with self.path.open("rb", buffering=0) as file:
            for n, first, count in runs:
                _fill(file, rows[n : n + count], place.offset + first * place.row_bytes, self.path)

    def _read(self, name: str) -> NDArray[Any]:
        place = self.datasets[name]
        values = np.empty(place.shape, place.type)
        with self.path.open("rb", buffering=0) as file:
            _fill(file, values, place.offset, self.path)
        if checksum(values) != place.checksum:
            raise DamagedFileError(self.path)
        return values


def write_row_file(
    path: Path,
    rows: NDArray[Any],
    texts: Mapping[str, Sequence[str]],
    provenance: Mapping[str, Any],
    *,
    durable: bool = True,
) -> None:
    """Write rows with their texts. Equal values give equal bytes.

    Args:
        path: The file.
        rows: The rows, N x ...
        texts: N texts for each name.
        provenance: What the rows were made from, as JSON can store it.
        durable: See `written_beside`.

    Raises:
        TypeError: The rows are not numbers.
        OSError: The file cannot be written, for example because the disk is full.
    """
    if rows.dtype.kind not in TYPES:
        raise TypeError(f"rows of type {rows.dtype} cannot be written")
    about = json_text(provenance)
    columns = {name: _as_bytes(of_rows) for name, of_rows in texts.items()} | {ROWS: rows}
    planned = {name: _dataset(column) for name, column in columns.items()}
    block_bytes = _block_bytes(_header(planned, about))
    with written_beside(path, durable=durable) as beside, _Output(beside) as output:
        with h5py.File(output, "w", userblock_size=block_bytes) as file:
            datasets = {
                name: replace(planned[name], offset=_put(file, name, column))
                for name, column in columns.items()
            }
            _put(file, PROVENANCE, np.array([about.encode()]))
        output.seek(0)
        output.write(_header(datasets, about).ljust(block_bytes, b"\0"))


def open_row_file(path: Path) -> RowFile:
    """Read the header of a row file.

    Raises:
        DamagedFileError: The file is damaged, or is not a row file.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(MAGIC)) != MAGIC:
            raise DamagedFileError(path, "is damaged, or is not a file of this project")
        digest, length = (file.read(digits + 1)[:-1] for digits in (DIGITS, LENGTH_DIGITS))
        try:
            text = file.read(max(0, min(int(length, 16), size)))
        except ValueError:
            raise DamagedFileError(path) from None
    if checksum(text).encode() != digest:
        raise DamagedFileError(path)
    # The text has its checksum, so it is exactly what `write_row_file` has written.
    about = json.loads(text)
    datasets = {
        name: Dataset(**{**place, "shape": tuple(place["shape"])})
        for name, place in about["datasets"].items()
    }
    if any(place.offset + place.bytes > size for place in datasets.values()):
        raise DamagedFileError(path, f"is truncated ({size:,} bytes)")
    return RowFile(
        path=path,
        provenance=about["provenance"],
        datasets=datasets,
        checksum=digest.decode(),
    )


def is_row_file(path: Path) -> bool:
    """Return whether a file begins like a row file."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


class _Output(io.FileIO):
    """A file that HDF5 writes to. HDF5 never sees an error of it, because it would crash.

    The first error is raised when the file is closed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self._path, self._error = path, None  # type: Path, OSError | None

    def write(self, data: Any) -> int:
        """Write all bytes, or remember why they cannot be written."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view) and not self._error:
                done += super().write(view[done:])
        except OSError as error:
            self._error = OSError(error.errno, error.strerror, str(self._path))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file, or remember why that is not possible."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or OSError(error.errno, error.strerror, str(self._path))
            return size or 0

    def __exit__(self, *about: Any) -> None:
        super().__exit__(*about)
        if self._error:
            raise self._error


def _as_bytes(texts: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([text.encode(errors="surrogateescape") for text in texts], dtype="S")


def _dataset(values: NDArray[Any]) -> Dataset:
    """Return what the header says about a dataset, before its place is known."""
    return Dataset(
        offset=LARGEST_OFFSET, type=values.dtype.str, shape=values.shape, checksum=checksum(values)
    )


def _put(file: h5py.File, name: str, values: NDArray[Any]) -> int:
    """Write a dataset and return its place; a dataset without values has none."""
    return int(file.create_dataset(name, data=values).id.get_offset() or 0)


def _header(datasets: Mapping[str, Dataset], provenance: str) -> bytes:
    text = json_text({"datasets": datasets, "provenance": json.loads(provenance)}).encode()
    return MAGIC + f"{checksum(text)}\n{len(text):0{LENGTH_DIGITS}x}\n".encode() + text


def _block_bytes(longest_header: bytes) -> int:
    return max(SMALLEST_BLOCK, 1 << (len(longest_header) - 1).bit_length())


def _fill(file: io.FileIO, values: NDArray[Any], offset: int, path: Path) -> None:
    """Read bytes from this offset on into an array that is contiguous in memory."""
    if not values.size:
        return
    wanted = memoryview(values.reshape(-1).view(np.uint8).data)
    file.seek(offset)
    while len(wanted):
        count = file.readinto(wanted)
        if not count:
            raise DamagedFileError(path, "is truncated")
        wanted = wanted[count:]
