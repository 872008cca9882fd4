"""Plain folders of ordinary pictures, without tables.

The relative path of a picture is its id, and its first subfolder is its label.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from atlas.core.errors import DataError, UserError
from atlas.core.wording import counted
from atlas.dataset.hpa import HPA_CHANNELS
from atlas.dataset.image_folders import is_image_folder
from atlas.dataset.image_headers import Header, check_picture
from atlas.dataset.picture_files import ENDINGS, Pictures, pictures_below, stem_of
from atlas.dataset.tables import TABLES, Split

LOGGER = logging.getLogger(__name__)

COLOUR, GRAY = ("red", "green", "blue"), ("gray",)
NAMED = 3  # number of damaged pictures that a message names


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture of a plain folder.

    Attributes:
        id: The relative path.
        split: The split.
        file: The file.
        label: The first subfolder, or None.
        header: The header of the file.
    """

    id: str
    split: Split
    file: Path
    label: str | None
    header: Header


@dataclass(frozen=True, kw_only=True)
class PlainFolder:
    """Pictures without tables.

    Attributes:
        name: The name of the folder.
        folders: The folder at which the ids of each split start.
        pictures: The readable pictures: labelled ones first, each split in the order of ids.
        labels: The names of all labels, sorted.
        channels: ("gray",) if the headers of all pictures show no colour, else the three colours.
        assumed: Sentences that say what was assumed.
        left_out: Sentences that say what was left out and why.
    """

    name: str
    folders: Mapping[Split, Path]
    pictures: tuple[Picture, ...]
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    assumed: tuple[str, ...]
    left_out: tuple[str, ...]

    def labels_of(self, picture: Picture) -> tuple[int, ...] | None:
        """Return the label numbers of a picture, or None if they are not known (test)."""
        if picture.split == "test":
            return None
        return () if picture.label is None else (self.labels.index(picture.label),)


def is_plain(data: Path) -> bool:
    """Return whether a folder without `atlas.toml` holds pictures and no tables.

    The caller must check that there is no `atlas.toml`. Channel files of the Human Protein Atlas
    are not pictures of a plain folder; their tables are missing.
    """
    if not data.is_dir() or any((data / table).exists() for table in TABLES.values()):
        return False
    stems = map(stem_of, pictures_below(data).paths)
    return not all(stem.endswith(tuple(f"_{c}" for c in HPA_CHANNELS)) for stem in stems)


def read_plain_folder(data: Path) -> PlainFolder:
    """Read a plain folder.

    If it has the subfolders train and test, they are the splits. Otherwise all pictures are
    labelled.

    Raises:
        DataError: No picture can be read.
    """
    if not (data / "train").is_dir():
        return plain_folder(data.resolve().name, {"train": pictures_below(data)})
    found: dict[Split, Pictures] = {"train": pictures_below(data / "train")}
    if (data / "test").is_dir():
        found["test"] = pictures_below(data / "test")
    inside = [data / split for split in found]
    elsewhere = len(pictures_below(data, without=inside).paths)
    said = [f"{_pictures(elsewhere)} outside train/ and test/"] if elsewhere else []
    return plain_folder(data.resolve().name, found, left_out=said)


def pair_of_folders(known: Path, new: Path | None, *, without: Sequence[Path] = ()) -> PlainFolder:
    """Read a folder of known pictures and, optionally, a folder of new ones.

    If one folder lies inside the other, its pictures belong to it alone.

    Args:
        known: Labelled pictures. Each subfolder is a label.
        new: Pictures without labels. Their subfolders have no meaning.
        without: Folders whose pictures are left out, such as the folder for results.

    Raises:
        UserError: A folder does not exist, is a file, or is given twice.
        DataError: A folder has no readable picture.
    """
    folders: dict[Split, Path] = {"train": known} if new is None else {"train": known, "test": new}
    for folder in folders.values():
        _require_folder(folder)
    real = {split: Path(os.path.realpath(folder)) for split, folder in folders.items()}
    if new is not None and real["train"] == real["test"]:
        raise UserError(f"{known} and {new} are the same folder; give two folders")
    found: dict[Split, Pictures] = {}
    left_out = []
    for split, folder in folders.items():
        inner = [r for other, r in real.items() if other != split and real[split] in r.parents]
        found[split] = pictures_below(folder.absolute(), without=[*inner, *without])
        left_out += [f"the pictures of {path} from those of {folder}" for path in inner]
    return plain_folder(" and ".join(path.name for path in real.values()), found, left_out=left_out)


def plain_folder(
    name: str, found: Mapping[Split, Pictures], *, left_out: Sequence[str] = ()
) -> PlainFolder:
    """Return the pictures that were found as a plain folder.

    Raises:
        DataError: No picture of a split can be read.
    """
    pictures: list[Picture] = []
    damaged: list[str] = []
    folders = _starts(found)
    for split, own in found.items():
        headers = _headers(own)
        before = len(pictures)
        for path, header in zip(own.paths, headers, strict=True):
            file = own.folder / path
            if header.problem:
                damaged.append(f"{path} {header.problem}")
                continue
            pictures.append(
                Picture(
                    id=os.path.relpath(file, folders[split]).replace(os.sep, "/"),
                    split=split,
                    file=file,
                    label=path.split("/")[0] if split == "train" and "/" in path else None,
                    header=header,
                )
            )
        if len(pictures) == before:
            raise DataError(str(own.folder), [_why_empty(own, damaged)])
    labels = tuple(sorted({picture.label for picture in pictures if picture.label is not None}))
    channels = GRAY if all(picture.header.gray for picture in pictures) else COLOUR
    return PlainFolder(
        name=name or "pictures",
        folders=folders,
        pictures=tuple(pictures),
        labels=labels,
        channels=channels,
        assumed=tuple(_assumed(pictures, labels, channels)),
        left_out=(*left_out, *_left_out(found, damaged)),
    )


def warn_of_left_out(folder: PlainFolder) -> None:
    """Log what was left out.

    A process logs each sentence once, because many stages read a folder.
    """
    where = " and ".join(dict.fromkeys(str(path) for path in folder.folders.values()))
    for text in folder.left_out:
        _warn_once(f"{where}: left out {text}")


@lru_cache(maxsize=1000)
def _warn_once(text: str) -> None:
    LOGGER.warning(text)


def _require_folder(folder: Path) -> None:
    if not folder.exists():
        raise UserError(f"{folder} does not exist; give a folder of pictures")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder of pictures")
    if is_image_folder(folder):
        raise UserError(f"{folder} is an image; give the folder in which it lies")


def _starts(found: Mapping[Split, Pictures]) -> dict[Split, Path]:
    """Return the folder at which the ids of each split start.

    It is the folder of the split. If ids would occur twice, it is the folder that all splits share.
    """
    counts = Counter(path for own in found.values() for path in own.paths)
    folders = {split: own.folder for split, own in found.items()}
    if max(counts.values(), default=0) < 2:
        return folders
    common = Path(os.path.commonpath([path.absolute() for path in folders.values()]))
    return dict.fromkeys(folders, common)


def _headers(own: Pictures) -> list[Header]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda path: check_picture(own.folder / path), own.paths))


def _why_empty(own: Pictures, damaged: Sequence[str]) -> str:
    if own.paths:
        return f"none of {_pictures(len(own.paths))} can be read: {damaged[-1]}"
    return f"it has no pictures; the name of a picture ends in {', '.join(ENDINGS)}"


def _assumed(
    pictures: Sequence[Picture], labels: Sequence[str], channels: Sequence[str]
) -> Iterator[str]:
    known = [picture for picture in pictures if picture.split == "train"]
    without = sum(picture.label is None for picture in known)
    if not labels:
        yield f"{_pictures(len(known))} without labels, since there are no subfolders"
    else:
        where = counted(len(labels), "subfolder")
        said = f"{_pictures(len(known) - without)} in {where}: each subfolder is a label"
        yield said + (f", and {_pictures(without)} in no subfolder without a label" * bool(without))
    if new := len(pictures) - len(known):
        yield f"{_pictures(new)} without labels, to look up"
    if channels == COLOUR:
        yield "colour pictures: 3 channels red, green, blue"
    else:
        yield "gray pictures: 1 channel gray"


def _pictures(count: int) -> str:
    return counted(count, "picture")


def _left_out(found: Mapping[Split, Pictures], damaged: Sequence[str]) -> Iterator[str]:
    if damaged:
        more = f"; and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        yield f"{_pictures(len(damaged))}: {'; '.join(damaged[:NAMED])}{more}"
    kinds: Counter[str] = Counter()
    for own in found.values():
        kinds.update(own.passed_over)
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        what = (
            "1 file that is not a picture"
            if kinds.total() == 1
            else f"{kinds.total():,} files that are not pictures"
        )
        yield f"{what} ({listed})"
