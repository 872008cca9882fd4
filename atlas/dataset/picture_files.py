"""Picture files by name: endings, files of a stem, all pictures below a folder, and safe names."""

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")
LONGEST_NAME = 150  # bytes; file systems allow 255, and functions that write files extend a name

Stems = Mapping[str, Sequence[Path]]


def is_picture_name(name: str) -> bool:
    """Return whether a file name has the ending of a picture, in upper or lower case."""
    return name.lower().endswith(ENDINGS)


def files_by_stem(folder: Path) -> Stems:
    """Return the picture files of a folder by their name without ending.

    Listing a folder once is faster than looking up many files.
    """
    stems = defaultdict(list)
    for name in sorted(os.listdir(folder)):
        if is_picture_name(name):
            stems[os.path.splitext(name)[0]].append(folder / name)
    return stems


def file_of_stem(folder: Path, stem: str) -> Path | None:
    """Return the picture file with a name without ending, or None.

    Common endings are tried first, because listing a large folder takes long.
    """
    for ending in (*ENDINGS, *map(str.upper, ENDINGS)):
        if (path := folder / f"{stem}{ending}").is_file():
            return path
    if not folder.is_dir():
        return None
    return next(iter(files_by_stem(folder).get(stem, ())), None)


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
    once, so loops end.

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
        for entry in _entries(folder / inside):
            path = f"{inside}/{entry.name}" if inside else entry.name
            if entry.name.startswith("."):
                continue
            if os.path.isdir(entry):  # entry.is_dir() would fail for a link to itself
                (links if entry.is_symlink() else own).append(path)
            else:
                yield path, _why_none(entry, path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # the folder cannot be read, or was just removed
        return []


def _why_none(entry: os.DirEntry[str], path: str) -> str:
    if not os.path.isfile(entry):
        return "links to nothing" if entry.is_symlink() else "neither files nor folders"
    if not is_picture_name(entry.name):
        return os.path.splitext(entry.name)[1].lower() or "files without an ending"
    if not leads_inside(path) or path[0].isspace():
        return "names that no table can hold"
    return ""
