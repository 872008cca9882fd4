"""Pictures by name: endings, files of a stem, all pictures below a folder, and safe names.

A picture is a file or an image folder, see `image_folders`.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.core.escaping import is_formula
from atlas.dataset.image_folders import FOLDER_ENDINGS, MARKS, is_image, is_image_folder

ENDINGS = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm", *FOLDER_ENDINGS,
)  # fmt: skip
LONGEST_FILE_NAME = 255  # bytes that file systems allow
LONGEST_NAME = 150  # bytes, because functions that write files extend a name
MOST_ZEROS = 12  # the number of leading zeros that are looked for

Stems = Mapping[str, Sequence[Path]]


def is_picture_name(name: str) -> bool:
    """Return whether a file name has the ending of a picture, in upper or lower case."""
    return name.lower().endswith(ENDINGS)


def stem_of(name: str) -> str:
    """Return the name or path of a picture without its ending.

    Example:
        >>> stem_of("cats/a.b.png"), stem_of("a.ome.zarr")
        ('cats/a.b', 'a')
    """
    longest = next((end for end in FOLDER_ENDINGS if name.lower().endswith(end)), "")
    return name[: -len(longest)] if longest else os.path.splitext(name)[0]


def composed(name: str) -> str:
    """Return a name with its accents composed to single characters (NFC).

    Some systems, such as macOS, write file names with accents as characters of their own, so equal
    names may have different characters.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def files_by_stem(folder: Path) -> Stems:
    """Return the picture files of a folder by their composed name without ending.

    Listing a folder once is faster than looking up many files.
    """
    stems = defaultdict(list)
    for name in sorted(os.listdir(folder)):
        if is_picture_name(name):
            stems[composed(stem_of(name))].append(folder / name)
    return stems


def files_of_stem(folder: Path, stem: str, *, listed: bool = True) -> tuple[Path, ...]:
    """Return the picture files with a name without ending. There should be one at most.

    Endings in small and in capital letters are tried first, because listing a large folder takes
    long.

    Args:
        folder: The folder.
        stem: The name.
        listed: Whether the folder is listed if no file is found in that way.
    """
    found = [
        path
        for form in _forms(stem)
        for ending in (*ENDINGS, *map(str.upper, ENDINGS))
        if is_image(path := folder / f"{form}{ending}")
    ]
    if listed and not found and folder.is_dir():
        found = [p for p in files_by_stem(folder).get(composed(stem), ()) if is_image(p)]
    # A file system that ignores case shows one file under two names.
    return tuple(p for n, p in enumerate(found) if not any(map(p.samefile, found[:n])))


def file_at(folder: Path, path: str) -> Path | None:
    """Return the file at a relative path, whether its accents are composed or not, or None."""
    for form in _forms(path):
        if is_image(folder / form):
            return folder / form
    return None


def lost_zeros(image_id: str, exists: Callable[[str], bool]) -> str:
    """Return the end of a message if files exist for an id with leading zeros, or "".

    A spreadsheet reads the id 007 as the number 7.

    Args:
        image_id: The id without files.
        exists: A function that returns whether an id has files.
    """
    if image_id.isascii() and image_id.isdigit():
        for zeros in range(1, MOST_ZEROS + 1):
            if exists(meant := "0" * zeros + image_id):
                return (
                    f"; there are files of {meant}: a spreadsheet may have removed the zeros, so "
                    "give the column Id the format text and write them again"
                )
    return ""


def leads_inside(path: str) -> bool:
    """Return whether a text is a relative path to a file that stays below its folder.

    Example:
        >>> leads_inside("cats/a.png"), leads_inside("../a.png")
        (True, False)
    """
    return (
        not any(part in ("", ".", "..") for part in path.split("/"))
        and "\\" not in path
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in path)
    )


def file_name_of(image_id: str) -> str:
    """Return a file name, without ending, for results of an image.

    If an id can be a file name, it is used unchanged. In other ids, such as relative paths,
    characters that a name cannot hold are replaced, and a hash of the id keeps similar names apart.

    Example:
        >>> file_name_of("1fffd2fe"), file_name_of("cats/a.png")
        ('1fffd2fe', 'cats_a.png-6a432b73')
    """
    safe = re.sub(r'[/\\:*?"<>|\s]|[^\w\-.,+=@~!#%&()\[\]{} \']', "_", image_id)
    if safe == image_id and len(image_id.encode()) <= LONGEST_NAME and image_id[0] != ".":
        return image_id
    short = safe.encode()[:LONGEST_NAME].decode(errors="ignore").lstrip(".")
    return f"{short}-{hashlib.sha256(image_id.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures below a folder.

    Attributes:
        folder: The folder.
        paths: The paths relative to the folder, with forward slashes, sorted.
        passed_over: The number of files that are not pictures by kind, such as ".txt" or "links to
            nothing".
    """

    folder: Path
    paths: tuple[str, ...]
    passed_over: Mapping[str, int]


def pictures_below(folder: Path, *, without: Sequence[Path] = ()) -> Pictures:
    """Find all pictures below a folder by their endings.

    Hidden files and folders are ignored. Links to folders are followed, but each folder is read
    once, so loops end. An image folder is one picture, and nothing is looked for in it.

    Args:
        folder: The folder to search.
        without: Folders inside it that are left out.
    """
    excluded = [Path(os.path.realpath(other)) for other in without]
    paths: list[str] = []
    passed_over: Counter[str] = Counter()
    for path, kind in _files(folder, excluded):
        if kind:
            passed_over[kind] += 1
        else:
            paths.append(path)
    return Pictures(folder=folder, paths=tuple(sorted(paths)), passed_over=passed_over)


def _files(folder: Path, excluded: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield the relative path of each file, and why it is not a picture, or ""."""
    seen: set[str] = set()
    # Real folders come before links to them, so that paths contain their own names.
    own, links = [""], list[str]()
    while own or links:
        inside = own.pop() if own else links.pop(0)
        real = os.path.realpath(folder / inside)
        if real in seen or any(Path(real).is_relative_to(other) for other in excluded):
            continue
        seen.add(real)
        entries = _entries(folder / inside)
        if inside and (is_image_folder(real) or any(entry.name in MARKS for entry in entries)):
            yield inside, "folders of Zarr whose names do not end in .zarr"
            continue
        for entry in entries:
            path = f"{inside}/{entry.name}" if inside else entry.name
            if entry.name.startswith("."):
                continue
            # `entry.is_dir()` would fail for a link to itself.
            if os.path.isdir(entry) and not is_image_folder(entry):
                (links if entry.is_symlink() else own).append(path)
            else:
                yield path, _why_none(entry, path)


def _forms(name: str) -> tuple[str, ...]:
    """Return a name as it is, composed, and decomposed."""
    forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
    return tuple(dict.fromkeys(forms))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # the folder cannot be read, or was just removed
        return []


def _why_none(entry: os.DirEntry[str], path: str) -> str:
    if not is_image(entry):
        return "links to nothing" if entry.is_symlink() else "neither files nor folders"
    if not is_picture_name(entry.name):
        return os.path.splitext(entry.name)[1].lower() or "files without an ending"
    if not leads_inside(path) or path[0].isspace():
        return "names that no table can hold"
    if is_formula(path):
        return "names that a spreadsheet would run as a formula"
    return ""
