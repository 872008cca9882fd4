"""Two nested folders of ordinary pictures: known ones, and new ones of which some are copies."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.Image import Transpose

from atlas.core.files import content_hash
from benchmarks.photographs.edits import EDITS, JPEG_QUALITY, Picture
from benchmarks.photographs.fetch import Photograph

KNOWN, NEW = "known", "new"
KNOWN_COUNT = 110
COPIES = 50
SEED = 17
FORMATS = (".jpg", ".png", ".webp", ".bmp", ".tiff")
LARGE_PX = 2_000_000  # from here on a picture is saved as a JPEG, as cameras do
QUALITY = 88
ORIENTATION_TAG = 0x0112
ROTATED_BY_VIEWER = 6  # EXIF: a viewer has to rotate the pixels by 90 degrees to the right
NEW_FOLDERS = ("Camera roll/2026-11", "Camera roll/Übersee", "Downloads", "From Zoë/best of")


@dataclass(frozen=True, kw_only=True)
class NewPicture:
    """What a new picture is: a row of truth.csv.

    new, known: Relative paths; known is the picture that the new one was made from.
    edit: What was done to it. Both are empty for a photograph that is not known.
    """

    new: str
    known: str
    edit: str
    photograph: str


def make_folders(
    photographs: list[Photograph], images: Mapping[str, bytes], out: Path
) -> list[NewPicture]:
    """Write both folders, the same on every call, and return what each new picture is.

    Args:
        photographs: The rows of the credits; all of them are used.
        images: The bytes of each photograph, by name.
        out: Where the folders `known` and `new` go.
    """
    rng = np.random.default_rng(SEED)
    shuffled = sorted(photographs, key=lambda one: content_hash(f"{SEED} {one.name}"))
    known, others = shuffled[:KNOWN_COUNT], shuffled[KNOWN_COUNT:]
    paths = {
        photograph.name: _write_known(number, photograph, images[photograph.name], out / KNOWN)
        for number, photograph in enumerate(known)
    }
    edits = [list(EDITS)[i % len(EDITS)] for i in range(COPIES)]
    sources = [(one, edit) for one, edit in zip(known[:COPIES], edits, strict=True)]
    sources += [(one, "") for one in others]
    order = rng.permutation(len(sources))  # where each new picture stands among the others
    rows = [
        _write_new(int(number), one, edit, images[one.name], out / NEW, paths.get(one.name, ""))
        for number, (one, edit) in zip(order, sources, strict=True)
    ]
    return sorted(rows, key=lambda row: row.new)


def write_truth(path: Path, rows: list[NewPicture]) -> None:
    """Write a table that read_truth reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(NewPicture)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read_truth(path: Path) -> list[NewPicture]:
    """Return what each new picture is."""
    with path.open(encoding="utf-8", newline="") as file:
        return [NewPicture(**row) for row in csv.DictReader(file)]


def _write_known(number: int, photograph: Photograph, data: bytes, folder: Path) -> str:
    """Save a known picture below the name of its package, and return its relative path."""
    picture = _opened(data)
    suffix = _suffix(number, picture)
    path = Path(photograph.package) / f"{photograph.name}{suffix}"
    _save(folder / path, picture, rotated=number % 37 == 1)
    return path.as_posix()


def _write_new(
    number: int, photograph: Photograph, edit: str, data: bytes, folder: Path, known: str
) -> NewPicture:
    """Save a new picture under a name that says nothing."""
    picture = _opened(data)
    if edit:
        picture = EDITS[edit](picture, np.random.default_rng([SEED, number]))
    coarse = JPEG_QUALITY.get(edit)
    suffix = ".jpg" if coarse else _suffix(number, picture)
    path = Path(NEW_FOLDERS[number % len(NEW_FOLDERS)]) / f"IMG {number:04d}{suffix}"
    _save(folder / path, picture, quality=coarse or QUALITY, rotated=number % 29 == 5)
    return NewPicture(new=path.as_posix(), known=known, edit=edit, photograph=photograph.name)


def _opened(data: bytes) -> Picture:
    """Return the pixels as they lie: the tags of four of the files, made for tests, are wrong."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def _suffix(number: int, picture: Picture) -> str:
    large = picture.width * picture.height > LARGE_PX
    suffix = FORMATS[0] if large else FORMATS[number % len(FORMATS)]
    return suffix.upper() if number % 7 == 3 else suffix


def _save(path: Path, picture: Picture, *, quality: int = QUALITY, rotated: bool = False) -> None:
    """Write a picture; as a JPEG it may lie on its side, with a tag for the viewer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if rotated and path.suffix.lower() == ".jpg":
        picture = picture.transpose(Transpose.ROTATE_90)
        exif[ORIENTATION_TAG] = ROTATED_BY_VIEWER
    picture.save(path, quality=quality, exif=exif)
