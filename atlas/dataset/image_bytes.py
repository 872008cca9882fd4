"""The bytes of image files: which format they have, and whether they are whole files at all.

Nothing here decodes pixels. A problem is the end of a sentence that begins with the file's name.
"""

import io
import logging
import os
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from atlas.core.errors import install_command
from atlas.dataset.image_folders import FolderProblem, is_image_folder

READABLE = "PNG, JPEG, TIFF, BMP, WebP, GIF or DICOM"
START_BYTES = 132  # of a file, which show its format
TAIL_BYTES = 1024  # an end mark within these bytes shows that a JPEG does not break off
NOT_FILES = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is not a file but a pipe",
    stat.S_IFSOCK: "is not a file but a socket",
    stat.S_IFCHR: "is not a file but a device",
    stat.S_IFBLK: "is not a file but a device",
}


class Kind(StrEnum):
    """A format of images, by the first bytes of a file, or by the name of a folder."""

    PNG = "PNG"
    JPEG = "JPEG"
    TIFF = "TIFF"
    BMP = "BMP"
    WEBP = "WebP"
    GIF = "GIF"
    DICOM = "DICOM"
    OME_ZARR = "OME-Zarr"


# The extra that installs the library of a format, and its name.
EXTRAS = {Kind.DICOM: ("dicom", "pydicom"), Kind.OME_ZARR: ("zarr", "zarr")}

MARKS = {
    b"\x89PNG\r\n\x1a\n": Kind.PNG,
    b"\xff\xd8\xff": Kind.JPEG,
    b"II*\0": Kind.TIFF,
    b"MM\0*": Kind.TIFF,
    b"II+\0": Kind.TIFF,
    b"MM\0+": Kind.TIFF,
    b"BM": Kind.BMP,
    b"GIF87a": Kind.GIF,
    b"GIF89a": Kind.GIF,
}


class ImageProblem(ValueError):
    """A file cannot be used as an image. The text says which file and why."""


@dataclass(frozen=True, kw_only=True)
class OpenImage:
    """An image that is open for reading.

    Attributes:
        path: The file or the image folder.
        kind: The format.
        stream: The open file, which is empty for an image folder.
    """

    path: Path
    kind: Kind
    stream: BinaryIO

    def content(self) -> bytes:
        """Return the bytes of the file."""
        self.stream.seek(0)
        return self.stream.read()


@contextmanager
def opened_image(file: Path) -> Iterator[OpenImage]:
    """Open an image file or an image folder, and yield it with its format.

    Whatever a decoder raises in the block becomes an ImageProblem, because damaged files lead
    decoders to errors of every kind.

    Raises:
        ImageProblem: It is no file, is empty, cannot be opened, has no known format, or has one
            whose extra is not installed.
    """
    if problem := why_no_file(file):
        raise ImageProblem(f"{file.name} {problem}")
    kind: Kind | None = None
    try:
        with _stream_of(file) as stream, _silence():
            folder = is_image_folder(file)
            kind = Kind.OME_ZARR if folder else kind_of(stream.read(START_BYTES))
            stream.seek(0)
            if kind is None:
                raise ImageProblem(f"{file.name} {_why_unknown(stream)}")
            extra, library = EXTRAS.get(kind, ("", ""))
            if extra and find_spec(library) is None:
                install = install_command(extra)
                raise ImageProblem(f"{file.name} is {kind}, which needs {library}: {install}")
            yield OpenImage(path=file, kind=kind, stream=stream)
    except ImageProblem:
        raise
    except FolderProblem as error:
        raise ImageProblem(f"{file.name} {error}") from error
    except OSError as error:
        if error.errno is None:  # Pillow raises it for damage
            raise ImageProblem(f"{file.name} {_why_damaged(kind)}") from error
        raise ImageProblem(f"{file.name} cannot be read ({error.strerror})") from error
    except Exception as error:
        if kind is Kind.OME_ZARR and isinstance(error, MemoryError):
            raise  # sizes were checked, so the memory is short
        raise ImageProblem(f"{file.name} {_why_damaged(kind)}") from error


def why_no_file(file: Path) -> str:
    """Return why a path is no file with content and no image folder, or "".

    A pipe is never opened.
    """
    try:
        status = file.stat()
    except FileNotFoundError:
        if file.is_symlink():
            return f"is a link to {os.readlink(file)}, which does not exist"
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if is_image_folder(file):
        return ""
    if not stat.S_ISREG(status.st_mode):
        return NOT_FILES.get(stat.S_IFMT(status.st_mode), "is not a file")
    return "" if status.st_size else "is empty"


def kind_of(start: bytes) -> Kind | None:
    """Return the format of a file from its first 132 bytes, or None if it is no known one."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return Kind.WEBP
    if start[128:START_BYTES] == b"DICM":
        return Kind.DICOM
    return next((kind for mark, kind in MARKS.items() if start.startswith(mark)), None)


def breaks_off(stream: BinaryIO, kind: Kind) -> bool:
    """Return whether a PNG or JPEG ends before its end mark. Bytes behind the mark are allowed.

    Damage within the file is found by decoding, and so is the end of the other formats.
    """
    if kind is Kind.PNG:
        return all(name != b"IEND" for name, _, _ in png_chunks(stream))
    if kind is Kind.JPEG:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - TAIL_BYTES))
        if b"\xff\xd9" in stream.read():
            return False
        stream.seek(0)
        return jpeg_end(stream.read()) is None
    return False


def png_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, offset and length of each whole chunk of a PNG, up to IEND."""
    size, offset = stream.seek(0, os.SEEK_END), 8
    while offset + 12 <= size:
        stream.seek(offset)
        length, name = struct.unpack(">I4s", stream.read(8))
        if offset + 12 + length > size:
            return
        yield name, offset + 8, length
        if name == b"IEND":
            return
        offset += 12 + length


def verify_png(stream: BinaryIO) -> None:
    """Compare the chunks of a PNG with their checksums.

    Raises:
        ValueError: One of them is damaged.
    """
    for name, offset, length in png_chunks(stream):
        stream.seek(offset)
        content, stated = stream.read(length), stream.read(4)
        if zlib.crc32(content, zlib.crc32(name)).to_bytes(4, "big") != stated:
            raise ValueError(f"the chunk {name!r} is damaged")


def jpeg_segments(stream: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, offset and length of each segment of a JPEG before the pixels."""
    offset = 2
    while True:
        stream.seek(offset)
        mark = stream.read(4)
        if len(mark) < 4 or mark[0] != 0xFF or mark[1] == 0xDA:
            return
        if mark[1] == 0xFF:  # padding
            offset += 1
            continue
        length = int.from_bytes(mark[2:], "big")
        yield mark[1], offset + 4, length - 2
        offset += 2 + max(2, length)


def jpeg_end(data: bytes) -> int | None:
    """Return the offset of the end mark of a JPEG, or None if there is none.

    Segments are skipped by their lengths, because thumbnails inside them have end marks, too.
    """
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker == 0xD9:
            return at
        # FF 00 is a byte of the pixels, FF FF is padding, and 01 and D0 to D7 have no content.
        if marker == 0xFF:
            at += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _stream_of(file: Path) -> AbstractContextManager[BinaryIO]:
    return io.BytesIO() if is_image_folder(file) else file.open("rb")


def _why_unknown(stream: BinaryIO) -> str:
    """Return what a file is whose first bytes are those of no format."""
    start = stream.read(1000).split(b"\n")[0].strip()
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS; fetch the image with git lfs pull"
    if b"annex/objects/" in start and start.isascii():
        return f"is a link to {start.decode()}, which does not exist; run git annex get"
    return f"is not a readable {READABLE}"


def _why_damaged(kind: Kind | None) -> str:
    return f"is not a readable {kind}, or is damaged; copy it again"


class _Silence(logging.Filter):
    """Drop what decoders log while a thread reads images: their errors are raised."""

    def __init__(self) -> None:
        super().__init__()
        self.of_thread = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.of_thread, "depth", 0)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.of_thread.depth = getattr(self.of_thread, "depth", 0) + 1
        try:
            yield
        finally:
            self.of_thread.depth -= 1


_silence = _Silence()
for _name in ("tifffile", "imagecodecs", "pydicom", "zarr"):
    logging.getLogger(_name).addFilter(_silence)
