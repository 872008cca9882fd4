"""Sealed JSON files: objects that are stored with their own checksum.

Lists of contents and files outside of result folders are sealed, because no list above them has
their checksum.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from atlas.core.checksums import checksum
from atlas.core.files import json_text, write_json
from atlas.core.row_file import DamagedFileError

CHECKSUM = "checksum"  # the key of the checksum in a JSON object
# What is raised while values that another version or a damaged disk has written are taken apart.
NOT_UNDERSTOOD = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip


def write_sealed_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object with its own checksum, for files outside of result folders."""
    plain = json.loads(json_text(value))
    write_json(path, {**plain, CHECKSUM: checksum(json_text(plain))})


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that `write_sealed_json` has written.

    Raises:
        DamagedFileError: The file was changed or damaged after it was written.
        OSError: The file cannot be read.
    """
    try:
        stored = json.loads(path.read_bytes())
        digest = stored.pop(CHECKSUM)
    except NOT_UNDERSTOOD as error:
        raise DamagedFileError(path) from error
    if checksum(json_text(stored)) != digest:
        raise DamagedFileError(path)
    return dict(stored)


def kept_json(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON object that is kept in a file; make it if the file is missing or damaged."""
    with suppress(FileNotFoundError, DamagedFileError):
        return read_sealed_json(path)
    write_sealed_json(path, make())
    return read_sealed_json(path)
