"""The project as it is installed: an archive, a wheel built from it, and a folder to work in."""

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PACKAGES = ("atlas", "retrieval", "index", "classify")
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def in_shell(*words: object, cwd: Path, **environment: str) -> str:
    """Return what a command prints; it may not fail, and reaches no registry."""
    done = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env={**os.environ, "PIP_NO_INDEX": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Installed:
    """A wheel that lies unpacked in a folder, and another folder where commands are called."""

    site: Path
    elsewhere: Path

    def python(self, *words: object) -> str:
        return in_shell(sys.executable, *words, cwd=self.elsewhere, PYTHONPATH=str(self.site))

    def atlas(self, *words: object) -> str:
        return self.python(self.site / "bin" / "atlas", *words)

    def shell(self, block: str) -> str:
        """Return what a block of shell commands prints; it ends at the first that fails."""
        # The script that pip installed names the interpreter of this environment.
        path = os.pathsep.join([str(self.site / "bin"), os.environ["PATH"]])
        return in_shell(
            "bash", "-euc", block, cwd=self.elsewhere, PYTHONPATH=str(self.site), PATH=path
        )


@pytest.fixture(scope="session")
def files() -> set[str]:
    """The files of the project, without those that git ignores."""
    if not (PROJECT / ".git").exists():
        pytest.skip("this is no clone, so what belongs to the project is not known")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = in_shell(*listed, cwd=PROJECT).split("\0")
    return {name for name in names if name and (PROJECT / name).is_file()}


@pytest.fixture(scope="session")
def archive(files: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built in a copy, because building leaves files behind."""
    folder = tmp_path_factory.mktemp("archive")
    for name in files:
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / "copy" / name)
    in_shell(sys.executable, "-c", BUILD_SDIST, folder, cwd=folder / "copy")
    (path,) = folder.glob("*.tar.gz")
    return path


@pytest.fixture(scope="session")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from nothing but the source archive."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    in_shell(*pip, "--wheel-dir", folder, source, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    (folder / "elsewhere").mkdir()
    pip = (sys.executable, "-m", "pip", "install", "--no-deps")
    in_shell(*pip, "--target", folder / "site", wheel, cwd=folder)
    return Installed(folder / "site", folder / "elsewhere")
