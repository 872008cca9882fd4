"""Uploads: what a request may send, and the files that are made of it.

Nothing that a client sends becomes part of a path. Files are named by the channels of the atlas,
and end as their content says, not as the client does.
"""

import logging
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from atlas.dataset.headers import check_headers
from atlas.dataset.image_bytes import READABLE, START_BYTES, Kind, kind_of
from atlas.dataset.picture_files import file_name_of
from atlas.dataset.queries import ids_of_channel_file
from atlas.dataset.spec import AtlasSpec
from atlas.service.settings import MEGA, ServeSettings

ENDINGS = {
    Kind.PNG: ".png", Kind.JPEG: ".jpg", Kind.TIFF: ".tif", Kind.BMP: ".bmp", Kind.WEBP: ".webp",
    Kind.GIF: ".gif", Kind.DICOM: ".dcm",
}  # fmt: skip
IMAGE = "image"  # the name of a file whose channel its own name says, or that holds all channels
FORM = "multipart/form-data"
MOST_FIELDS = 8
FIELD_BYTES = 4096  # of a field that is not a file

# It logs what is wrong with each form, which the answer says.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

_numbers = count()


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The files of an image that were sent.

    Attributes:
        files: Their bytes, in the order of the file channels.
        endings: The ending of each file.
    """

    files: tuple[bytes, ...]
    endings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a request has sent. Large files are not in memory yet.

    Attributes:
        parts: The files, in the order of the file channels; empty if there are none.
        fields: The other fields.
    """

    parts: tuple[UploadFile, ...]
    fields: Mapping[str, str]

    async def upload(self) -> Upload:
        """Return the files, of which there are some.

        Raises:
            HTTPException: 422 if a file has no known format.
        """
        files = tuple([await part.read() for part in self.parts])
        return Upload(files=files, endings=tuple(map(_ending, files)))


@asynccontextmanager
async def received(
    request: Request, spec: AtlasSpec, names: tuple[str, ...]
) -> AsyncIterator[Form]:
    """Yield what a request sends.

    Args:
        request: The request, whose body has a limit.
        spec: The kind of images.
        names: The names of the fields that it may have beside files.

    Raises:
        HTTPException: The request is malformed: 400 for its form, 415 for its type, 422 for fields
            and files that are unknown or missing.
    """
    if not request.headers.get("content-type", "").lower().startswith(FORM):
        raise HTTPException(415, f"send {FORM}")
    most = len(spec.file_channels)
    try:
        form = await request.form(max_files=most, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES)
    except (KeyError, UnicodeError, ValueError) as error:  # of a form that no client would send
        raise HTTPException(400, "the form cannot be read") from error
    try:
        sent = _files_by_channel(form, spec)
        missing = [channel for channel in spec.file_channels if channel not in sent]
        if sent and missing:
            raise HTTPException(422, f"the file of channel {missing[0]} is missing")
        parts = tuple(sent[channel] for channel in spec.file_channels if sent)
        yield Form(parts=parts, fields=_fields(form, names))
    finally:
        await form.close()


@contextmanager
def written(upload: Upload, spec: AtlasSpec, folder: Path) -> Iterator[tuple[Path, ...]]:
    """Yield the files of an upload, which are removed at the end of the block.

    Args:
        upload: The files.
        spec: The kind of images.
        folder: The folder of the server for such files.
    """
    own = folder / str(next(_numbers))
    own.mkdir()
    try:
        names = (IMAGE,) if len(upload.files) == 1 else map(file_name_of, spec.file_channels)
        files = tuple(
            own / f"{name}{ending}" for name, ending in zip(names, upload.endings, strict=True)
        )
        for file, content in zip(files, upload.files, strict=True):
            file.write_bytes(content)
        yield files
    finally:
        shutil.rmtree(own, ignore_errors=True)


def require_small(files: tuple[Path, ...], spec: AtlasSpec, settings: ServeSettings) -> None:
    """Check the headers of an image before anything is decoded.

    Raises:
        HTTPException: 413 if it has too many pixels, or 422 if the atlas would refuse it.
    """
    (width_px, height_px), problems = check_headers(files, spec)
    if problems:
        raise HTTPException(422, "; ".join(problems))
    if width_px * height_px > settings.megapixels * MEGA:
        raise HTTPException(
            413,
            f"the image has {width_px:,} x {height_px:,} pixels, and at most "
            f"{settings.megapixels} million are accepted",
        )


def _files_by_channel(form: FormData, spec: AtlasSpec) -> dict[str, UploadFile]:
    """Return the files by the channel that each of them holds."""
    found: dict[str, UploadFile] = {}
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            continue
        channel = _channel_of(name, value.filename or "", spec)
        if channel in found:
            raise HTTPException(422, f"there are several files of channel {channel}")
        found[channel] = value
    return found


def _channel_of(name: str, filename: str, spec: AtlasSpec) -> str:
    """Return the channel of a file, by the name of its field or by its own name."""
    if name in spec.file_channels:
        return name
    expected = ", ".join(dict.fromkeys((IMAGE, *spec.file_channels)))
    if name != IMAGE:
        raise HTTPException(422, f"a file must be named {expected}")
    if len(spec.file_channels) == 1:
        return spec.file_channels[0]
    channels = {channel for _, channel in ids_of_channel_file(Path(filename), spec)}
    if len(channels) != 1:
        raise HTTPException(
            422,
            f"the name of a file does not say its channel; name its field "
            f"{', '.join(spec.file_channels)}, or the file like {spec.file_pattern}",
        )
    return channels.pop()


def _fields(form: FormData, names: tuple[str, ...]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            continue
        if name not in names or name in fields:
            raise HTTPException(422, f"the fields are {', '.join(names)}, each of them once")
        # A text that cannot be written as UTF-8, or that has an end inside, is never meant.
        if re.search("[\x00\ud800-\udfff]", value):
            raise HTTPException(422, f"{name} has a character that no text has")
        fields[name] = value
    return fields


def _ending(content: bytes) -> str:
    kind = kind_of(content[:START_BYTES])
    if kind is None:
        raise HTTPException(422, f"the file is not a readable {READABLE}")
    return ENDINGS[kind]
