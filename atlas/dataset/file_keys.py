"""Keys of images that follow from the content of their files.

Reading all files takes long, so the checksum of a file is kept with the size, times and inode that
the file had. It is used again while none of them has changed. Programs can set the modification
time of a file, but not the time of its last change (ctime), so a file that was replaced is always
read again, also if its size and its modification time are those of the file before. An image folder
counts as one file, which changes if any file in it does.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.core.parallel import DECODING_THREADS, by_threads
from atlas.core.row_cache import fill_rows, stored_rows
from atlas.core.timing import stage
from atlas.dataset.image_folders import FolderProblem, checksum_of, signature_of
from atlas.dataset.manifest import ImageRow

FILES_FOLDER = "files"
ROWS_AT_ONCE = 64
# A file that changed so shortly before it was read can change again at the same recorded time.
SETTLED_NS = 3 * 10**9


class FileChecksums:
    """The checksums of files, which are taken when they are asked for.

    Args:
        files: The files.
        folder: The folder of the row cache, in which checksums are kept.

    Raises:
        DataError: A file cannot be read.
    """

    def __init__(self, files: Iterable[Path], folder: Path) -> None:
        self._folder = folder / FILES_FOLDER
        self._signatures = {file: _signature(file) for file in files}
        names = [(str(file), signature) for file, signature in self._signatures.items()]
        known = stored_rows(self._folder, names, provenance={})
        checksums = known.read(known.ids).tolist() if known.ids else []
        self._checksums = {
            Path(file): text.decode() for file, text in zip(known.ids, checksums, strict=True)
        }
        self._new: set[Path] = set()

    def of(self, files: Sequence[Path]) -> list[str]:
        """Return the checksum of each file; those that are not known are read by several threads.

        Raises:
            DataError: A file cannot be read.
        """
        unknown = [file for file in dict.fromkeys(files) if file not in self._checksums]
        if unknown:
            with stage("reading files", items=len(unknown)):
                found = by_threads(_checksum, unknown, threads=DECODING_THREADS)
            self._checksums.update(zip(unknown, found, strict=True))
            self._new.update(unknown)
        return [self._checksums[file] for file in files]

    def require_unchanged(self, files: Iterable[Path]) -> None:
        """Check that files are still those whose checksums were taken.

        Raises:
            DataError: A file was changed while it was read.
        """
        changed = [file for file in files if _signature(file) != self._signatures[file]]
        if changed:
            raise DataError(
                str(changed[0].parent),
                [
                    f"{file.name} was changed while it was read; run the same command again"
                    for file in changed
                ],
            )

    def keep(self) -> None:
        """Keep the new checksums for later runs."""
        now = time.time_ns()
        files = {
            str(file): file
            for file in self._new
            if now - int(self._signatures[file].rsplit(",", 1)[1]) > SETTLED_NS
        }

        def checksums(names: Sequence[str]) -> NDArray[Any]:
            return np.array([self._checksums[files[name]].encode() for name in names], dtype="S32")

        fill_rows(
            self._folder,
            list(files),
            checksums,
            provenance={},
            description="keeping checksums",
            keys=[self._signatures[file] for file in files.values()],
        )
        self._new.clear()


class FileKeys(Sequence[str]):
    """The key of each image, which is made from the checksums of its files when it is asked for.

    Args:
        rows: The images.
        folder: The folder of the row cache, in which checksums are kept.
    """

    def __init__(self, rows: Sequence[ImageRow], folder: Path) -> None:
        self._rows = rows
        self._checksums = FileChecksums((file for row in rows for file in row.files), folder)
        self._keys: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        n = range(len(self))[at]
        if n not in self._keys:
            # Images are asked for in their order, so the next ones are read too.
            rows = self._rows[n : n + ROWS_AT_ONCE]
            self._checksums.of([file for row in rows for file in row.files])
            for after, row in enumerate(rows):
                self._keys[n + after] = "|".join(self._checksums.of(row.files))
        return self._keys[n]

    def __iter__(self) -> Iterator[str]:
        return (self[n] for n in range(len(self)))

    def require_unchanged(self, rows: Sequence[ImageRow]) -> None:
        """Check that the files of images are still those whose checksums were taken.

        Raises:
            DataError: A file was changed while it was read.
        """
        self._checksums.require_unchanged(file for row in rows for file in row.files)

    def keep(self) -> None:
        """Keep the new checksums for later runs."""
        self._checksums.keep()


def _signature(file: Path) -> str:
    """Return a text that changes whenever a file changes; the last number is its ctime."""
    return _read(file, signature_of)


def _checksum(file: Path) -> str:
    return _read(file, checksum_of)


def _read(file: Path, read: Callable[[Path], str]) -> str:
    try:
        return read(file)
    except FolderProblem as problem:
        raise DataError(str(file.parent), [f"{file.name} {problem}"]) from problem
    except OSError as error:
        raise DataError(
            str(file.parent), [f"{file.name} cannot be read ({error.strerror})"]
        ) from error
