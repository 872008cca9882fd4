"""Keys of images that follow from the content of their files.

Reading all files takes long, so the checksum of a file is kept with the size, times and inode that
the file had. It is used again while none of them has changed. Programs can set the modification
time of a file, but not the time of its last change (ctime), so a file that was replaced is always
read again, also if its size and its modification time are those of the file before. An image folder
counts as one file, which changes if any file in it does.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.core.execution import current_cluster, current_share
from atlas.core.parallel import DECODING_THREADS, by_threads
from atlas.core.row_cache import fill_rows, stored_rows
from atlas.core.row_work import RowMaker
from atlas.core.shared_rows import LateKeys
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
        self._checksums: dict[Path, str] = {}
        self._new: set[Path] = set()
        self.refresh()
        if current_cluster():
            self._read_by_workers()

    def refresh(self) -> None:
        """Read the checksums that are kept of files whose checksum is not known."""
        names = [
            (str(file), signature)
            for file, signature in self._signatures.items()
            if file not in self._checksums
        ]
        kept = stored_rows(self._folder, names, provenance={})
        checksums = kept.read(kept.ids).tolist() if kept.ids else []
        for file, text in zip(kept.ids, checksums, strict=True):
            self._checksums[Path(file)] = text.decode()

    def known(self, files: Sequence[Path]) -> bool:
        """Return whether the checksums of all these files are known."""
        return all(file in self._checksums for file in files)

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

    def signatures(self, files: Iterable[Path]) -> dict[Path, str]:
        """Return the signature that each file had when its checksum was asked for."""
        return {file: self._signatures[file] for file in files}

    def keep(self) -> None:
        """Keep the new checksums for later runs."""
        files = {str(file): file for file in self._new if self._is_settled(file)}

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

    def _read_by_workers(self) -> None:
        """Let the workers of a cluster take and keep the checksums that are not known."""
        unknown = [
            file
            for file in self._signatures
            if file not in self._checksums and self._is_settled(file)
        ]
        if unknown:
            fill_rows(
                self._folder,
                list(map(str, unknown)),
                _Checksums(),
                provenance={},
                description="reading files",
                keys=[self._signatures[file] for file in unknown],
            )
            self.refresh()

    def _is_settled(self, file: Path) -> bool:
        return time.time_ns() - int(self._signatures[file].rsplit(",", 1)[1]) > SETTLED_NS


class _Checksums(RowMaker):
    """The checksums of files, by their paths."""

    def __call__(self, ids: Sequence[str]) -> NDArray[Any]:
        found = by_threads(_checksum, map(Path, ids), threads=DECODING_THREADS)
        return np.array([text.encode() for text in found], dtype="S32")

    def only(self, ids: Sequence[str]) -> "_Checksums":
        return self


def require_unchanged(signatures: Mapping[Path, str]) -> None:
    """Check that files still have the signatures that they had before.

    Raises:
        DataError: A file was changed while it was read.
    """
    changed = [file for file, signature in signatures.items() if _signature(file) != signature]
    if changed:
        raise DataError(
            str(changed[0].parent),
            [
                f"{file.name} was changed while it was read; run the same command again"
                for file in changed
            ],
        )


class FileKeys(LateKeys):
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
            wanted = {at: self._rows[at] for at in self._next(n)}
            self._checksums.of([file for row in wanted.values() for file in row.files])
            for at, row in wanted.items():
                self._keys[at] = "|".join(self._checksums.of(row.files))
        return self._keys[n]

    def __iter__(self) -> Iterator[str]:
        return (self[n] for n in range(len(self)))

    def known(self, at: int) -> str | None:
        """Return the key of an image if its files were read before, perhaps by another command."""
        return self[at] if self._checksums.known(self._rows[at].files) else None

    def refresh(self) -> None:
        """Read the checksums that other commands have kept."""
        self._checksums.refresh()

    def signatures(self, rows: Iterable[ImageRow]) -> dict[Path, str]:
        """Return the signatures that the files of images had, see `require_unchanged`."""
        return self._checksums.signatures(file for row in rows for file in row.files)

    def keep(self) -> None:
        """Keep the new checksums for later runs."""
        self._checksums.keep()

    def _next(self, n: int) -> list[int]:
        """Return an image and those after it that this command asks for soon."""
        share = current_share()
        after = range(n, min(n + ROWS_AT_ONCE, len(self)))
        return [at for at in after if at == n or not share or share.has(self._rows[at].id)]


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
