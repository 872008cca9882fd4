"""Work that makes rows of the row cache, and the executors that do it.

`Here` computes rows in this process. `RayExecutor` sends the same work in parts to the workers of a
cluster, which write their files into the same folder. A part consists of ids, settings and the
places of rows that it reads; rows themselves only pass through files.

Axis N: rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atlas.core.checksums import checksum
from atlas.core.files import content_hash
from atlas.core.progress import Progress
from atlas.core.row_file import RowFile, write_row_file
from atlas.core.timing import stage

own_files: set[Path] = set()  # files that this process wrote, and not an earlier run


class StoredRow(NamedTuple):
    """The file of a row, its position in the file, its checksum, and its key."""

    path: Path
    offset: int
    row_hash: str
    key: str = ""


IdAndKey: TypeAlias = tuple[str, str]
Places: TypeAlias = Mapping[IdAndKey, StoredRow]
MakeRows: TypeAlias = Callable[[Sequence[str]], NDArray[Any]]


class RowMaker(ABC):
    """A function from ids to their rows that other machines can call, too.

    Other functions that make rows are called in the process that asks for the rows.
    """

    uses_gpu: ClassVar[bool] = False  # whether a GPU makes the rows, where there is one

    @abstractmethod
    def __call__(self, ids: Sequence[str]) -> NDArray[Any]:
        """Return the rows of these ids, N x ..."""

    @abstractmethod
    def only(self, ids: Sequence[str]) -> "RowMaker":
        """Return what makes the rows of these ids alone, which is quick to send."""


@dataclass(frozen=True, kw_only=True)
class RowWork:
    """Rows that are to be computed and stored.

    Attributes:
        folder: The folder of the files.
        make_rows: The function from ids to their rows.
        provenance: What all rows are made from.
        rows_per_file: The largest number of rows of a file.
        rows_at_once: The number of rows of each call of `make_rows`.
    """

    folder: Path
    make_rows: MakeRows
    provenance: dict[str, Any]
    rows_per_file: int
    rows_at_once: int

    def only(self, ids: Sequence[str]) -> "RowWork":
        """Return the work on these rows alone, which can be sent to another machine."""
        assert isinstance(self.make_rows, RowMaker)
        return replace(self, make_rows=self.make_rows.only(ids))

    def write(self, names: Sequence[IdAndKey], rows: NDArray[Any]) -> Places:
        """Write a file under a name that follows from its content.

        Two processes that write at the same time therefore never damage each other's files.
        """
        path = self.folder / f"part-{content_hash(*('|'.join(name) for name in names))}.h5"
        with stage("writing rows", items=len(rows)):
            hashes = [checksum(row) for row in rows]
            ids, keys = zip(*names, strict=True)
            # Rows are not compressed: the fastest codecs save a third of the space and make reading
            # three times slower, see benchmarks/store_reads.py.
            texts = {"ids": ids, "keys": keys, "hashes": hashes}
            write_row_file(path, rows, texts, self.provenance, durable=False)
        own_files.add(path)
        return _placed(path, names, hashes)

    def write_file_of(self, names: Sequence[IdAndKey]) -> Path:
        """Compute the rows of a file, write it, and return its path."""
        starts = range(0, len(names), self.rows_at_once)
        blocks = [
            self.make_rows([image_id for image_id, _ in names[start : start + self.rows_at_once]])
            for start in starts
        ]
        written = self.write(names, joined(blocks))
        return next(iter(written.values())).path


class Executor(Protocol):
    """What computes rows and stores them."""

    def fill(
        self,
        work: RowWork,
        missing: Iterable[list[IdAndKey]],
        shown: Progress,
        note: Callable[[Places], None],
    ) -> None:
        """Compute and store rows.

        Args:
            work: How the rows are made.
            missing: Blocks of at most `rows_at_once` rows. A block may wait for work that is not
                done yet.
            shown: The progress, which is updated by the number of computed rows.
            note: A function that is called with the places of rows as soon as they are stored, from
                any thread.
        """


class Here:
    """Compute rows in this process, and write each file while the next one is computed."""

    def fill(
        self,
        work: RowWork,
        missing: Iterable[list[IdAndKey]],
        shown: Progress,
        note: Callable[[Places], None],
    ) -> None:
        """Compute and store rows, see `Executor`.

        Two files are held in memory. After an error, only the file that is being written is
        finished.
        """

        def write(names: list[IdAndKey], rows: NDArray[Any]) -> None:
            note(work.write(names, rows))

        written: Future[None] | None = None
        with ThreadPoolExecutor(1) as pool:
            for names, blocks in _made(work, missing, shown):
                if written:
                    written.result()
                written = pool.submit(write, names, joined(blocks))
        if written:
            written.result()


def places_in(file: RowFile) -> Places:
    """Return the places of all rows of a file."""
    ids, keys, hashes = (file.texts(name) for name in ("ids", "keys", "hashes"))
    return _placed(file.path, list(zip(ids, keys, strict=True)), hashes)


def joined(blocks: list[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate the blocks and empty the list, so that only the result stays in memory."""
    rows = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    blocks.clear()
    return rows


def _made(
    work: RowWork, missing: Iterable[list[IdAndKey]], shown: Progress
) -> Iterator[tuple[list[IdAndKey], list[NDArray[Any]]]]:
    """Yield the names and the blocks of rows of each file."""
    names: list[IdAndKey] = []
    blocks: list[NDArray[Any]] = []
    for some in missing:
        blocks.append(work.make_rows([image_id for image_id, _ in some]))
        names += some
        shown.update(len(some))
        if len(names) >= work.rows_per_file:
            yield names, blocks
            names, blocks = [], []
    if names:
        yield names, blocks


def _placed(path: Path, names: Sequence[IdAndKey], hashes: Sequence[str]) -> Places:
    return {
        name: StoredRow(path, offset, row_hash, name[1])
        for offset, (name, row_hash) in enumerate(zip(names, hashes, strict=True))
    }
