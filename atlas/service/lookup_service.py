"""The work behind the lookup service: each request is read, embedded with others, and compared.

Reading and comparing happen in as many threads as there are processors, and embedding in those of
`MicroBatches`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException

from atlas.core.errors import UserError
from atlas.dataset.images import ImageProblem, resize_field
from atlas.service.answers import (
    ImageAnswer,
    LookupAnswer,
    of_added,
    of_found,
    of_judgement,
)
from atlas.service.limits import busy
from atlas.service.settings import ServeSettings
from atlas.service.uploads import Form, Upload, require_small, written
from atlas.workflows.embed.gallery import Gallery, Judgement
from atlas.workflows.embed.open_index import Files
from atlas.workflows.serve.live_gallery import LiveGallery, NewImage, problems_of
from atlas.workflows.serve.micro_batches import Found, FullError, MicroBatches
from index.added_images import content_of

UPLOADED = "/upload"  # the name of an image that was sent; no id begins with a slash
MOST_CHANGES = 3  # how often a lookup is repeated because a neighbour was removed meanwhile
READ_AT_ONCE = 8  # images that were sent and are in memory
TILE_PX, TILE_QUALITY = 160, 80

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a lookup asks for.

    Attributes:
        id: The id of an image of the atlas, or None for an image that was sent.
        k: The number of neighbours.
        registration: Whether the neighbours are compared by pixels.
    """

    id: str | None
    k: int
    registration: bool


class LookupService:
    """Lookups and additions, which may run at the same time.

    Args:
        live: The known images.
        batches: Embeds and searches; its threads must be running.
        settings: What is accepted.
        folder: A folder for files that were sent.
    """

    def __init__(
        self, live: LiveGallery, batches: MicroBatches, settings: ServeSettings, folder: Path
    ) -> None:
        self.live, self.settings = live, settings
        self._batches, self._folder = batches, folder
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "lookups")
        self._room = asyncio.Semaphore(READ_AT_ONCE)

    @property
    def gallery(self) -> Gallery:
        """The known images as they are now."""
        return self.live.current

    async def lookup(self, asked: Asked, form: Form) -> LookupAnswer:
        """Return the answer to a lookup.

        Raises:
            HTTPException: The image is unknown or refused, or the service is busy.
        """
        return await self._timely(partial(self._lookup, asked, form))

    async def add(self, form: Form) -> tuple[ImageAnswer, bool]:
        """Add an image, and return it and whether it is new. It is on the disk then.

        Raises:
            HTTPException: The image is refused, or the service is busy.
            ConflictError: Another image is in the way.
        """
        return await self._timely(partial(self._add, form))

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return the result of work that a thread does."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def picture(self, image_id: str) -> bytes:
        """Return a small picture of an image of the atlas, as WebP."""
        spec = self.gallery.index.spec
        try:
            field = self.gallery.read(self._files_of(image_id))
        except ImageProblem as problem:
            raise HTTPException(404, str(problem)) from problem
        # Imported only here, because it loads matplotlib, which takes a second.
        from atlas.report.pictures import to_bytes, to_rgb, webp

        small = resize_field(field, TILE_PX) if len(field[0]) > TILE_PX else field
        return webp(to_bytes(to_rgb(small, spec.channels)), quality=TILE_QUALITY)

    async def _timely(self, work: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await asyncio.wait_for(work(), self.settings.answer_s)
        except TimeoutError as error:
            raise busy(f"no answer within {self.settings.answer_s:g} s; try again") from error
        except FullError as error:
            raise busy(str(error)) from error

    async def _lookup(self, asked: Asked, form: Form) -> LookupAnswer:
        with ExitStack() as files_of_request:
            if asked.id is None:
                async with self._room:
                    upload = await form.upload()
                    files, image = await self.run(
                        lambda: self._read_upload(upload, files_of_request)
                    )
                    del upload
            else:
                files = self._files_of(asked.id)
                image = await self.run(lambda: self._read(files))
            for _ in range(MOST_CHANGES):
                found = await self._found(asked.id or UPLOADED, image, asked.k)
                if not asked.registration:
                    return of_found(found, asked.id)
                try:
                    judgement = await self.run(partial(_judgement, found, image, files))
                    return of_judgement(found.gallery, judgement, asked.id)
                except UserError:
                    if self._knows(found):
                        raise
            raise busy("the images change too fast; try again")

    async def _add(self, form: Form) -> tuple[ImageAnswer, bool]:
        spec = self.gallery.index.spec
        async with self._room:
            upload = await form.upload()
            new = NewImage(
                id=form.fields.get("id", ""),
                files=upload.files,
                endings=upload.endings,
                labels=form.fields.get("labels", ""),
                identity=form.fields.get("identity", ""),
            )
            if problems := problems_of(new, spec):
                raise HTTPException(422, "; ".join(problems))
            content = content_of(new.files)
            if twin := self.live.known_twin(new, content):
                return of_added(twin, self.gallery), False
            with ExitStack() as files_of_request:
                _, image = await self.run(lambda: self._read_upload(upload, files_of_request))
            found = await self._found(UPLOADED, image, 1)
            vector_D = found.query.vectors_ND[0]
            # What has begun is finished, even if the client goes: it must not be half there.
            adding = self.run(partial(self.live.add, new, content, image, vector_D))
            added, is_new = await asyncio.shield(adding)
            return of_added(added, self.gallery), is_new

    def _read_upload(
        self, upload: Upload, open_files: ExitStack
    ) -> tuple[Files, NDArray[np.uint8]]:
        """Return the files of an upload, which stay while `open_files` is open, and its pixels."""
        spec = self.gallery.index.spec
        files = open_files.enter_context(written(upload, spec, self._folder))
        require_small(files, spec, self.settings)
        return files, self._read(files)

    def _read(self, files: Files) -> NDArray[np.uint8]:
        try:
            return self.gallery.read(files)
        except ImageProblem as problem:
            raise HTTPException(422, str(problem)) from problem
        except MemoryError as error:
            raise HTTPException(413, "the image needs more memory than there is") from error

    def _files_of(self, image_id: str) -> Files:
        """Return the files of an id; nothing else is looked for.

        Raises:
            HTTPException: 404 if the atlas has no such image.
        """
        try:
            files = self.gallery.files.of_id(image_id)
        except (OSError, ValueError):  # too long for the name of a file, or no name at all
            files = None
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        if not files:
            raise HTTPException(404, "there is no image with this id")
        return files

    async def _found(self, name: str, image: NDArray[np.uint8], k: int) -> Found:
        return await asyncio.wrap_future(self._batches.submit(name, image, k))

    def _knows(self, found: Found) -> bool:
        """Return whether all neighbours are still there."""
        gallery = self.gallery
        return all(i in gallery for i in found.neighbours.reference_ids_NK[0] if i)


def _judgement(found: Found, image: NDArray[np.uint8], files: Files) -> Judgement:
    answer = found.gallery.answer(found.query, image, files, found.neighbours)
    return found.gallery.judgement(answer, found.gallery.judged([answer]))
