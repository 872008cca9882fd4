"""What a Ray worker does: it checks where it is, and then computes the rows of one part at a time.

A worker lives as long as the command that started it, so it loads libraries and networks once. It
writes the files of its parts into the shared folder and returns only their paths.
"""

import os
import platform
import socket
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from atlas.core.errors import DataError, UserError
from atlas.core.healing import DamagedCacheError
from atlas.core.row_work import IdAndKey, RowWork

# Rows depend on the versions of these packages.
PACKAGES = (
    "atlas-retrieval", "faiss-cpu", "imagecodecs", "imagehash", "numpy",
    "opencv-python-headless", "openvino", "pillow", "scipy", "simplejpeg", "tifffile", "timm",
    "torch", "torchvision",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What workers must have in common with the command that started them.

    Attributes:
        folder: The folder in which the command runs, from which paths are given.
        token_file: A file that the command has written into the shared folder.
        token: The text of the file.
        inputs: The data folder.
        versions: The versions of packages on which rows depend.
    """

    folder: Path
    token_file: Path
    token: str
    inputs: Path
    versions: dict[str, str]

    def require(self) -> None:
        """Check that this process sees the same folders and has the same packages.

        Raises:
            UserError: It does not.
        """
        host = socket.gethostname()
        with suppress(OSError):  # absolute paths may still be found
            os.chdir(self.folder)
        if not self._is_shared():
            raise UserError(
                f"the Ray worker on {host} does not see the folder {self.token_file.parent}; put "
                "--out on storage that all machines mount at the same path"
            )
        if not self.inputs.exists():
            raise UserError(
                f"the Ray worker on {host} does not see {self.inputs}; put --data on storage that "
                "all machines mount at the same path"
            )
        if differing := _differences(self.versions, versions()):
            raise UserError(
                f"the Ray worker on {host} has other versions than this machine: {differing}; "
                "install the same versions on all machines"
            )

    def _is_shared(self) -> bool:
        with suppress(OSError):
            return self.token_file.read_text() == self.token
        return False


class RowWorker:
    """A Ray actor that computes rows; see `RayExecutor`."""

    def ready(self, surroundings: Surroundings) -> str:
        """Check the surroundings, and return the name of this machine."""
        surroundings.require()
        return socket.gethostname()

    def write_file_of(self, work: RowWork, names: list[IdAndKey]) -> str:
        """Compute the rows of a file, write it, and return its path.

        Raises:
            UserError: A person can fix the problem.
        """
        work.folder.mkdir(parents=True, exist_ok=True)
        try:
            return str(work.write_file_of(names))
        except (DataError, DamagedCacheError):
            raise
        except UserError as error:  # other classes are not rebuilt from their text
            raise UserError(str(error)) from None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages on which rows depend."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _differences(wanted: dict[str, str], found: dict[str, str]) -> str:
    return ", ".join(
        f"{name} {found[name]} instead of {wanted[name]}"
        for name in wanted
        if found[name] != wanted[name]
    )
