"""The source archive is complete, and the wheel that is built from it works outside the clone."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module")
def files() -> set[str]:
    """The files of the project, without those that git ignores."""
    if not (PROJECT / ".git").exists():
        pytest.skip("this is no clone, so what belongs to the project is not known")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = in_shell(*listed, cwd=PROJECT).split("\0")
    return {name for name in names if name and (PROJECT / name).is_file()}


@pytest.fixture(scope="module")
def archive(files: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built in a copy, because building leaves files behind."""
    folder = tmp_path_factory.mktemp("archive")
    for name in files:
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / "copy" / name)
    in_shell(sys.executable, "-c", BUILD_SDIST, folder, cwd=folder / "copy")
    (path,) = folder.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    (folder / "elsewhere").mkdir()
    pip = (sys.executable, "-m", "pip", "install", "--no-deps")
    in_shell(*pip, "--target", folder / "site", wheel, cwd=folder)
    return Installed(folder / "site", folder / "elsewhere")


def test_the_source_archive_holds_every_file(archive: Path, files: set[str]) -> None:
    with tarfile.open(archive) as packed:
        held = {name.partition("/")[2] for name in packed.getnames()}
    assert files - held == {".gitignore"}


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path, files: set[str]) -> None:
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert held == {name for name in files if name.partition("/")[0] in PACKAGES}
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_imported_from_the_wheel(installed: Installed, package: str) -> None:
    where = installed.python("-c", f"import {package}; print({package}.__file__)")
    assert Path(where.strip()) == installed.site / package / "__init__.py"


def test_the_command_works_outside_the_clone(installed: Installed) -> None:
    listed = installed.atlas("--help")
    assert "build-index" in listed
    assert installed.python("-m", "atlas.cli", "--help") == listed
    assert installed.atlas("--version").startswith("atlas ")


def test_a_page_is_made_outside_the_clone(installed: Installed) -> None:
    data = installed.elsewhere / "data"
    data.mkdir()
    (data / "train.csv").write_text("Id,Target\na,0\nb,1 2\nc,2\n")
    installed.atlas("explore", "--data", "data", "--out", "explored")
    assert list((installed.elsewhere / "explored").glob("*.html"))
