"""The source archive is complete, and the wheel that is built from it works outside the clone."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import PACKAGES, Installed

pytestmark = pytest.mark.slow


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
    data = installed.elsewhere / "labels"
    data.mkdir()
    (data / "train.csv").write_text("Id,Target\na,0\nb,1 2\nc,2\n")
    installed.atlas("explore", "--data", "labels", "--out", "explored")
    assert list((installed.elsewhere / "explored").glob("*.html"))
