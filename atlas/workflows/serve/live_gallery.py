"""A gallery that changes while it is searched: images are added and removed, and people judge."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.checksums import checksum
from atlas.core.errors import MissingStageError, Stage, UserError, command_line
from atlas.core.escaping import is_formula
from atlas.core.kept_fresh import KeptFresh
from atlas.core.locks import locked
from atlas.dataset.artifacts import LeakReport
from atlas.dataset.labels import distinct_labels, label_problems
from atlas.dataset.picture_files import LONGEST_NAME
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.tables import Draft, id_problems
from atlas.dataset.verdicts import read_verdicts, verdicts_beside
from atlas.workflows.embed.gallery import Gallery, open_gallery
from atlas.workflows.embed.verdicts import judge_beside
from atlas.workflows.leaks.verdicts import CurrentClaims
from atlas.workflows.run_folder import CALIBRATION_FILE, LEAKS_FILE, RunFolder
from index.added_images import (
    AddedImage,
    add_image,
    read_added,
    remove_images,
    remove_orphans,
    replace_image,
)

LOGGER = logging.getLogger(__name__)
MADE_ID_DIGITS = 16
LONGEST_IDENTITY = 200


class ConflictError(UserError):
    """An image cannot be added or removed, because another one is in the way."""


class UnknownImageError(UserError):
    """There is no image with an id."""


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """An image that somebody wants to add.

    Attributes:
        id: Its id, or "" for one that follows from its content.
        files: The bytes of its files, in the order of the channels.
        endings: The ending of each file.
        labels: Its labels, as a cell of a table.
        identity: Its identity, or "".
    """

    id: str
    files: tuple[bytes, ...]
    endings: tuple[str, ...]
    labels: str
    identity: str


class LiveGallery:
    """The known images of a run, and those that are added to them.

    All methods may be called by several threads at once. `live_gallery` opens it.

    Args:
        run: The run folder.
        data: Where the atlas lies now; None for where it lay when the index was made.

    Raises:
        UserError: The index or what was added cannot be opened.
    """

    def __init__(self, run: RunFolder, data: Path | None = None) -> None:
        self._changing = threading.Lock()
        self._gallery = gallery = open_gallery(run.index, data)
        judged_by = run.leaks / CALIBRATION_FILE, verdicts_beside(run.index)
        maker = gallery.opened.embedder.maker
        self._judged = KeptFresh(
            lambda: (
                judge_beside(run.index, maker),
                read_verdicts(verdicts_beside(run.index)),
            ),
            judged_by,
        )
        self._claims = KeptFresh(
            lambda: CurrentClaims(data=gallery.index.data, folder=run.leaks).leaks,
            [run.leaks / LEAKS_FILE, *judged_by],
        )
        self._finish_what_was_stopped()

    @property
    def current(self) -> Gallery:
        """The known images, with the thresholds and verdicts of now."""
        judge, verdicts = self._judged.get()
        if self._gallery.judge is not judge or self._gallery.verdicts is not verdicts:
            with self._changing:
                self._gallery = replace(self._gallery, judge=judge, verdicts=verdicts)
        return self._gallery

    @property
    def claims(self) -> LeakReport:
        """The claims of the run as they stand.

        Raises:
            MissingStageError: There are no leaks.
        """
        return self._claims.get()

    def known_twin(self, new: NewImage, content: str) -> AddedImage | None:
        """Return the image that was added from the same files before, or None.

        Raises:
            ConflictError: It has another id, or the id belongs to another image.
        """
        gallery = self._gallery
        for one in gallery.added.by_id.values():
            if one.content == content:
                if new.id not in ("", one.id):
                    raise ConflictError(f"these files are already there as {one.id}")
                return one
        image_id = new.id or _made_id(content, new.endings, gallery.index.spec)
        if image_id in gallery or gallery.files.of_id(image_id):
            raise ConflictError(f"the atlas already has an image {image_id}")
        return None

    def add(
        self, new: NewImage, content: str, field: NDArray[np.uint8], vector_D: NDArray[np.float32]
    ) -> tuple[AddedImage, bool]:
        """Add an image, which is on the disk when this returns.

        Args:
            new: The image, which has no problems.
            content: The checksum of its files.
            field: Its pixels as they were embedded, C x size x size.
            vector_D: Its vector.

        Returns:
            The image, and whether it is new. Adding the same files again changes nothing.

        Raises:
            ConflictError: Its id belongs to another image, or its files are there under another id.
            UserError: It cannot be written.
        """
        with self._changing:
            if twin := self.known_twin(new, content):
                return twin, False
            image = AddedImage(
                id=new.id or _made_id(content, new.endings, self._gallery.index.spec),
                content=content,
                endings=new.endings,
                labels=distinct_labels(new.labels),
                identity=new.identity,
                pixels=checksum(field),
                embedder=self._gallery.opened.embedder.maker,
                vector_D=vector_D,
            )
            add_image(self._gallery.added.folder, image, new.files)
            added = self._gallery.added.with_image(image)
            self._gallery = replace(self._gallery, added=added)
            return image, True

    def remove(self, image_id: str) -> None:
        """Remove an image that was added; that it is gone is on the disk when this returns.

        Raises:
            UnknownImageError: There is no such image.
            ConflictError: It is an image of the atlas.
        """
        with self._changing:
            added = self._gallery.added
            image = added.by_id.get(image_id)
            if image is None and image_id in self._gallery:
                raise ConflictError(
                    f"{image_id} is an image of the atlas; remove it from its table, stop the "
                    "server and run atlas update"
                )
            if image is None:
                raise UnknownImageError(f"there is no image {image_id}")
            remove_images(added.folder, [image])
            self._gallery = replace(self._gallery, added=added.without(image_id))

    def _finish_what_was_stopped(self) -> None:
        """Remove files without a row, and keep vectors of a new embedder."""
        added = self._gallery.added
        stored = read_added(added.folder)
        remove_orphans(stored)
        for image_id, image in stored.by_id.items():
            if image_id not in added.by_id:
                LOGGER.warning(
                    f"the index has an image {image_id} by now; the one in {added.folder} is not "
                    "searched"
                )
            elif image.embedder != added.by_id[image_id].embedder:
                replace_image(added.folder, added.by_id[image_id])


@contextmanager
def live_gallery(run: Path, data: Path | None = None) -> Iterator[LiveGallery]:
    """Open the known images of a run, and hold the locks of the run and of its index meanwhile.

    So neither `update` nor `build_index` can change what is served.

    Args:
        run: The run folder.
        data: Where the atlas lies now; None for where it lay when the index was made.

    Raises:
        UserError: Another process writes the run, or it cannot be opened.
    """
    folder, command = RunFolder(run), command_line("serve")
    with locked(run, command=command):
        if not folder.has(Stage.INDEX):
            raise MissingStageError(folder.index, Stage.INDEX)
        with locked(folder.index, command=command):
            yield LiveGallery(folder, data)


def problems_of(new: NewImage, spec: AtlasSpec) -> list[str]:
    """Return what is wrong with the id, labels and identity of an image that is to be added."""
    problems: list[str] = []
    if new.id:
        problems += _id_problems(new, spec)
    if new.labels or not spec.by_path:
        problems += label_problems(new.labels, len(spec.labels), column="labels")
    if len(new.identity) > LONGEST_IDENTITY or not new.identity.isprintable():
        problems.append(f"identity must have at most {LONGEST_IDENTITY} printable characters")
    elif is_formula(new.identity):
        problems.append("identity is a formula for spreadsheets")
    return problems


def _id_problems(new: NewImage, spec: AtlasSpec) -> list[str]:
    problems = list(id_problems([Draft(where="id", id=new.id, split="external")], spec.names))
    parts = new.id.split("/")
    if any(part.startswith(".") or part != part.strip() for part in parts):
        problems.append("id: no part of it may begin with a dot, or begin or end with a space")
    if max(len(part.encode(errors="replace")) for part in parts) > LONGEST_NAME:
        problems.append(f"id is longer than {LONGEST_NAME} bytes")
    if spec.by_path and not new.id.lower().endswith(new.endings[0]):
        problems.append(f"id must end in {new.endings[0]}, because the file is of that kind")
    return problems


def _made_id(content: str, endings: Sequence[str], spec: AtlasSpec) -> str:
    """Return an id that follows from the content of an image."""
    short = content[:MADE_ID_DIGITS]
    return f"added/{short}{endings[0]}" if spec.by_path else f"added-{short}"
