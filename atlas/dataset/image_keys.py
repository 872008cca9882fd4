"""Keys of images, which results keep to notice later that an image was replaced.

The key of an image follows from the content of its files and from how the atlas reads them. It can
be computed without decoding an image, and usually without reading its files, see `FileKeys`. It
does not depend on the folder of the atlas, so an atlas may be moved.
"""

from pathlib import Path

from atlas.core.checksums import checksum
from atlas.dataset.file_keys import FileKeys
from atlas.dataset.manifest import Manifest, read_files


def image_key(file_key: str, read_as: str) -> str:
    """Return the key of an image.

    Args:
        file_key: The key of its files, see `FileKeys`.
        read_as: How the files are read, see `AtlasSpec.read_as`.
    """
    return checksum(f"{file_key} {read_as}".encode())


def keys_of(manifest: Manifest, folder: Path, *, keep: bool = True) -> dict[str, str]:
    """Return the key of each image now, by id.

    Args:
        manifest: The images.
        folder: The folder of the row cache, in which the checksums of files are kept.
        keep: Whether new checksums are kept for later runs.

    Raises:
        DataError: A file cannot be read.
    """
    files = FileKeys(manifest.rows, folder)
    read_as = manifest.spec.read_as
    keys = {
        row.id: image_key(file_key, read_as)
        for row, file_key in zip(manifest.rows, files, strict=True)
    }
    if keep:
        files.keep()
    return keys


def keys_in(data: Path, folder: Path) -> dict[str, str]:
    """Return the key of each image of an atlas whose files are there, by id.

    Args:
        data: The atlas folder.
        folder: See `keys_of`.

    Raises:
        DataError: The tables have problems, or a file cannot be read.
    """
    return keys_of(read_files(data), folder)
