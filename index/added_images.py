"""Images that were added to an index after it was built: the folder `RUN/added` beside `RUN/index`.

The files of an image lie in `images/` as they were sent, under names that follow from their
content. A row of `added.db` says what the image is, and holds its vector. An image is there if its
row is: its files are on the disk before the row is written, and removed after the row is.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.checksums import checksum
from atlas.core.database import Layout, opened_database
from atlas.core.files import sync_folder, write_bytes
from atlas.core.row_file import DamagedFileError
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.labels import format_labels, parse_labels

LOGGER = logging.getLogger(__name__)
ADDED_FOLDER, DATABASE, FILES_FOLDER = "added", "added.db", "images"
_LAYOUT = Layout(
    steps={
        101: """
CREATE TABLE images (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, content TEXT NOT NULL UNIQUE,
    endings TEXT NOT NULL, labels TEXT NOT NULL, identity TEXT NOT NULL, pixels TEXT NOT NULL,
    embedder TEXT NOT NULL, vector BLOB NOT NULL, checksum TEXT NOT NULL);
"""
    },
    noun="a database of added images",
    when_damaged="restore it from a backup, or move the folder away and add the images again",
)


@dataclass(frozen=True, kw_only=True)
class AddedImage:
    """An image that was added.

    Attributes:
        id: The id.
        content: The checksum of its files.
        endings: The ending of each file, in the order of the channels.
        labels: The numbers of its labels.
        identity: Its identity, or "".
        pixels: The checksum of the image that was embedded, as in `IndexFolder.table`.
        embedder: The key of the embedder that made the vector.
        vector_D: The vector, float32.
    """

    id: str
    content: str
    endings: tuple[str, ...]
    labels: tuple[int, ...]
    identity: str
    pixels: str
    embedder: str
    vector_D: NDArray[np.float32]

    def files_in(self, folder: Path) -> tuple[Path, ...]:
        """Return the files of the image, one for each file channel, below `RUN/added`."""
        return tuple(
            folder / FILES_FOLDER / f"{self.content}-{n}{ending}"
            for n, ending in enumerate(self.endings)
        )


@dataclass(frozen=True, kw_only=True)
class AddedImages:
    """All images that were added, in the order in which they were added.

    Attributes:
        folder: The folder `RUN/added`, which need not exist.
        by_id: The images.
    """

    folder: Path
    by_id: Mapping[str, AddedImage]

    def files_of(self, image_id: str) -> tuple[Path, ...] | None:
        """Return the files of an image that was added, or None."""
        image = self.by_id.get(image_id)
        return image.files_in(self.folder) if image else None

    def with_image(self, image: AddedImage) -> "AddedImages":
        """Return these images and another one."""
        return replace(self, by_id={**self.by_id, image.id: image})

    def without(self, image_id: str) -> "AddedImages":
        """Return these images without one of them."""
        return replace(self, by_id={i: one for i, one in self.by_id.items() if i != image_id})

    def embeddings(self, provenance: Mapping[str, Any]) -> EmbeddingSet:
        """Return the vectors of the images, of which there must be at least one."""
        return EmbeddingSet(
            ids=tuple(self.by_id),
            vectors_ND=np.stack([image.vector_D for image in self.by_id.values()]),
            provenance=dict(provenance),
        )


def added_beside(index_folder: Path) -> Path:
    """Return the folder of the images that were added to an index."""
    return index_folder.resolve().parent / ADDED_FOLDER


def content_of(files: Sequence[bytes]) -> str:
    """Return the checksum of the files of an image, in the order of its channels."""
    return checksum(*(checksum(one) for one in files))


def read_added(folder: Path) -> AddedImages:
    """Read the images that were added; there are none without the folder.

    Raises:
        UserError: The database is damaged or holds something else.
    """
    path = folder / DATABASE
    if not path.exists():
        return AddedImages(folder=folder, by_id={})
    with opened_database(path, _LAYOUT) as file:
        rows = file.execute(f"SELECT {', '.join(_COLUMNS)} FROM images ORDER BY number")
        images = [_image(path, *row) for row in rows]
    return AddedImages(folder=folder, by_id={image.id: image for image in images})


def add_image(folder: Path, image: AddedImage, files: Sequence[bytes]) -> None:
    """Write the files of an image and then its row; all is on the disk when this returns.

    Only one process may add and remove images at a time.

    Raises:
        UserError: The id or the files are there already, or the database cannot be written.
        OSError: The disk is full.
    """
    for path, content in zip(image.files_in(folder), files, strict=True):
        write_bytes(path, content)
    row = _row(image)
    with opened_database(folder / DATABASE, _LAYOUT, create=True) as database:
        database.execute(
            f"INSERT INTO images ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(row))})", row
        )


def remove_images(folder: Path, images: Sequence[AddedImage]) -> None:
    """Remove the rows of images and then their files.

    Raises:
        UserError: The database cannot be written.
    """
    with opened_database(folder / DATABASE, _LAYOUT, create=True) as database, database:
        database.execute("BEGIN IMMEDIATE")
        database.executemany("DELETE FROM images WHERE id = ?", [(one.id,) for one in images])
    for image in images:
        for path in image.files_in(folder):
            path.unlink(missing_ok=True)


def replace_image(folder: Path, image: AddedImage) -> None:
    """Replace the row of an image, which was embedded again.

    Raises:
        UserError: The database cannot be written.
    """
    named = ", ".join(f"{name} = ?" for name in _COLUMNS)
    with opened_database(folder / DATABASE, _LAYOUT, create=True) as database:
        database.execute(f"UPDATE images SET {named} WHERE id = ?", (*_row(image), image.id))


def remove_orphans(added: AddedImages) -> None:
    """Remove files whose image has no row: a process was killed before it wrote the row."""
    folder = added.folder / FILES_FOLDER
    if not folder.is_dir():
        return
    known = {path.name for one in added.by_id.values() for path in one.files_in(added.folder)}
    orphans = [path for path in folder.iterdir() if path.name not in known]
    for path in orphans:
        path.unlink()
    if orphans:
        sync_folder(folder)


_COLUMNS = (*(one.name.removesuffix("_D") for one in fields(AddedImage)), "checksum")


def _row(image: AddedImage) -> tuple[Any, ...]:
    """Return the values of _COLUMNS."""
    values = (
        image.id, image.content, json.dumps(image.endings), format_labels(image.labels),
        image.identity, image.pixels, image.embedder, image.vector_D.astype("<f4").tobytes(),
    )  # fmt: skip
    return *values, _digest(*values)


def _digest(*values: Any) -> str:
    *texts, vector = values  # a damaged database may hold numbers in place of texts
    return checksum(*map(str, texts), vector)


def _image(path: Path, *row: Any) -> AddedImage:
    """Return an image from its row.

    Raises:
        DamagedFileError: The row does not have its checksum.
    """
    *values, digest = row
    if _digest(*values) != digest:
        raise DamagedFileError(path)
    image_id, content, endings, labels, identity, pixels, embedder, vector = values
    return AddedImage(
        id=image_id,
        content=content,
        endings=tuple(json.loads(endings)),
        labels=parse_labels(labels),
        identity=identity,
        pixels=pixels,
        embedder=embedder,
        vector_D=np.frombuffer(vector, "<f4").astype(np.float32),
    )
