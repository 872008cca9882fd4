"""Images that are folders, such as OME-Zarr: which folders they are, and which files are in them.

Whatever treats an image as a file, such as a key, a copy or a walk of folders, asks here whether it
is a folder, and which files it then consists of.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from atlas.core.checksums import checksum, file_checksum
from atlas.core.escaping import quoted

FOLDER_ENDINGS = (".ome.zarr", ".zarr")
MARKS = (".zgroup", ".zattrs", "zarr.json")  # files that only a folder of Zarr has
MOST_FILES = 200_000  # in a folder; an image of the largest size in usual chunks has far fewer


class FolderProblem(ValueError):
    """A folder cannot be used as an image. The text is the end of a sentence about the folder."""


def is_image_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder, or a link to one, whose name says that it is an image."""
    return os.fspath(path).lower().endswith(FOLDER_ENDINGS) and os.path.isdir(path)


def is_image(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a file or an image folder at a path."""
    return os.path.isfile(path) or is_image_folder(path)


def files_of(folder: Path) -> Mapping[str, Path]:
    """Return all files of an image folder by their relative names, sorted.

    Raises:
        FolderProblem: The folder holds a link, something else that is not a file, or too many
            files.
        OSError: The folder cannot be read.
    """
    found: dict[str, Path] = {}
    for name in _names(folder):
        if len(found) == MOST_FILES:
            raise FolderProblem(f"holds more than {MOST_FILES:,} files; save it with larger chunks")
        found[name] = folder / name
    return dict(sorted(found.items()))


def checksum_of(image: Path) -> str:
    """Return the checksum of a file, or of the names and contents of all files of an image folder.

    Raises:
        FolderProblem: See `files_of`.
        OSError: A file cannot be read.
    """
    if not is_image_folder(image):
        return file_checksum(image)
    parts = ((name, file_checksum(file)) for name, file in files_of(image).items())
    return checksum(*(text for part in parts for text in part))


def signature_of(image: Path) -> str:
    """Return a text that changes whenever a file, or any file of an image folder, changes.

    Behind its last comma is the latest time of change (ctime) of the files, which programs cannot
    set.

    Raises:
        FolderProblem: See `files_of`.
        OSError: A file cannot be read.
    """
    if not is_image_folder(image):
        return _signature(image.stat())
    signatures = {name: _signature(file.lstat()) for name, file in files_of(image).items()}
    latest = max((int(text.rsplit(",", 1)[1]) for text in signatures.values()), default=0)
    return f"{checksum(*(text for item in signatures.items() for text in item))},{latest}"


def _signature(status: os.stat_result) -> str:
    times = f"{status.st_mtime_ns},{status.st_ctime_ns}"
    return f"{status.st_dev},{status.st_ino},{status.st_size},{times}"


def _names(folder: Path) -> Iterator[str]:
    """Yield the relative name of each file below a folder, in no order."""
    inside = [""]
    while inside:
        above = inside.pop()
        with os.scandir(folder / above) as entries:
            for entry in entries:
                name = f"{above}{entry.name}"
                if entry.is_symlink():  # it could lead to any file of the computer
                    raise FolderProblem(f"holds the link {quoted(name)}; copy it without links")
                if entry.is_dir(follow_symlinks=False):
                    inside.append(f"{name}/")
                elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    yield name
                else:
                    raise FolderProblem(f"holds {quoted(name)}, which is not a file; remove it")
