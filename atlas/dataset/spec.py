"""The kind of images that a folder holds, and where they lie.

The file `atlas.toml` describes both. Without it, a folder with tables is read as that of the Human
Protein Atlas of 2018, and a folder without tables as a plain folder of pictures.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.core.errors import UserError
from atlas.core.escaping import escaped
from atlas.dataset.hpa import HPA_CHANNELS, HPA_LABELS
from atlas.dataset.picture_files import (
    file_at,
    files_of_stem,
    is_picture_name,
    leads_inside,
    stem_of,
)
from atlas.dataset.plain_folder import PlainFolder, is_plain, read_plain_folder
from atlas.dataset.spec_file import PATH_PATTERN, is_nearly, read_spec_file
from atlas.dataset.tables import TABLES, Split

SPEC_FILE = "atlas.toml"


@dataclass(frozen=True, kw_only=True)
class AtlasSpec:
    """The kind of images of an atlas.

    Attributes:
        name: The name of the atlas.
        channels: The names of the channels in the order of array axis C.
        file_pattern: The pattern of file names, with `{id}`, and `{channel}` if each channel has a
            file of its own. The ending of a file may differ. Without `{channel}`, one file holds
            the only channel, all three as red, green and blue, or, as TIFF or OME-Zarr, any
            number of channels. `{id}` alone means that ids are the relative paths of files.
        labels: The names of the labels. The number of a label is its position.
        max_value: The count that becomes white. By default it is the maximum of the file's type.
        min_value: The count that becomes black. By default it is 0.
    """

    name: str
    channels: tuple[str, ...]
    file_pattern: str
    labels: tuple[str, ...]
    max_value: float | None = None
    min_value: float | None = None

    @property
    def by_path(self) -> bool:
        """Whether ids are relative paths of files, with their endings."""
        return self.file_pattern == PATH_PATTERN

    @property
    def whole(self) -> bool:
        """Whether a file is a picture that holds all channels."""
        return self.by_path or (len(self.channels) > 1 and "{channel}" not in self.file_pattern)

    @property
    def file_channels(self) -> tuple[str, ...]:
        """The channels that have a file each.

        If one file holds all channels, it is the first channel.
        """
        return self.channels[:1] if self.whole else self.channels

    @property
    def read_as(self) -> str:
        """A text that changes if the same files are read as other pixels."""
        return repr((self.channels, self.whole, self.min_value, self.max_value))

    def names(self, image_id: str) -> bool:
        """Return whether an id can be part of the file names of an image."""
        if self.by_path:
            return leads_inside(image_id) and is_picture_name(image_id)
        return bool(image_id) and image_id.isprintable() and not set(image_id) & {"/", "\\"}

    def file_stem(self, image_id: str, channel: str) -> str:
        """Return the name of a file without its ending."""
        named = image_id if self.by_path else self.file_pattern.format(id=image_id, channel=channel)
        return stem_of(named)

    def files_in(self, folder: Path, image_id: str, *, listed: bool = True) -> tuple[Path, ...]:
        """Return the file of an image for each of `file_channels`; none if one of them is missing.

        Args:
            folder: The folder of the images.
            image_id: The id.
            listed: See `files_of_stem`.

        Raises:
            UserError: A channel has several files, such as a.png and a.PNG.
        """
        if not self.names(image_id):
            return ()
        if self.by_path:
            file = file_at(folder, image_id)
            return (file,) if file else ()
        found = []
        for channel in self.file_channels:
            if (file := self.file_in(folder, image_id, channel, listed=listed)) is None:
                return ()
            found.append(file)
        return tuple(found)

    def file_in(
        self, folder: Path, image_id: str, channel: str, *, listed: bool = True
    ) -> Path | None:
        """Return the file of one channel, or None if it is missing, see `files_in`."""
        files = files_of_stem(folder, self.file_stem(image_id, channel), listed=listed)
        if len(files) > 1:
            raise UserError(f"{folder}: {' and '.join(p.name for p in files)} both exist; keep one")
        return files[0] if files else None


HPA_2018 = AtlasSpec(
    name="Human Protein Atlas 2018",
    channels=HPA_CHANNELS,
    file_pattern="{id}_{channel}.png",
    labels=HPA_LABELS,
)


def read_spec(data: Path) -> AtlasSpec:
    """Return the kind of images of a data folder.

    Without `atlas.toml`, it is a plain folder of pictures, or HPA 2018.

    Raises:
        DataError: `atlas.toml` is not valid.
        UserError: There is only a file whose name is nearly `atlas.toml`.
    """
    if has_spec(data):
        return spec_of({"name": data.name, **read_spec_file(data / SPEC_FILE)})
    return spec_of_plain(read_plain_folder(data)) if is_plain(data) else HPA_2018


def has_spec(data: Path) -> bool:
    """Return whether a data folder has an `atlas.toml`.

    Raises:
        UserError: It has none, but a file whose name differs by case, by one letter or by the
            ending .txt, which nothing would read.
    """
    if (data / SPEC_FILE).exists():
        return True
    for name in sorted(os.listdir(data)) if data.is_dir() else ():
        if is_nearly(name.lower().removesuffix(".txt"), SPEC_FILE):
            raise UserError(
                f"{data}: no {SPEC_FILE}: the folder would be read as HPA 2018 or as a folder of "
                f"pictures; {escaped(name)} is not read; rename it to {SPEC_FILE}"
            )
    return False


def image_folders(data: Path) -> dict[Split, Path]:
    """Return the folder of the images of each split. The folders need not exist.

    By default they are the subfolders train, external and test. `[images]` of `atlas.toml` names
    others, relative to that file or absolute.

    Raises:
        DataError: `atlas.toml` is not valid.
    """
    usual = {split: data / split for split in TABLES}
    if has_spec(data):
        named = read_spec_file(data / SPEC_FILE).get("images", {})
        return {split: data / named.get(split, split) for split in usual}
    return {**usual, **read_plain_folder(data).folders} if is_plain(data) else usual


def spec_of_plain(folder: PlainFolder) -> AtlasSpec:
    """Return the kind of images of a plain folder."""
    return AtlasSpec(
        name=folder.name,
        channels=folder.channels,
        file_pattern=PATH_PATTERN,
        labels=folder.labels,
    )


def spec_text(spec: AtlasSpec, images: Mapping[Split, str] | None = None) -> str:
    """Return the text of an `atlas.toml`.

    Args:
        spec: The kind of images.
        images: The entries of the table `[images]`, or None to leave it out.
    """
    lines = [
        f"name = {_quoted(spec.name)}",
        f"channels = [{', '.join(map(_quoted, spec.channels))}]",
        f"file_pattern = {_quoted(spec.file_pattern)}",
        *_list_lines("labels", spec.labels),
    ]
    for key, value in (("min_value", spec.min_value), ("max_value", spec.max_value)):
        if value is not None:
            lines.append(f"{key} = {value!r}")
    if images:
        lines += ["", "[images]", *(f"{split} = {_quoted(path)}" for split, path in images.items())]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # JSON strings are TOML strings, except for one control character that JSON does not escape.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list_lines(key: str, names: tuple[str, ...]) -> Iterator[str]:
    if not names:
        yield f"{key} = []"
        return
    yield f"{key} = ["
    yield from (f"  {_quoted(name)},  # {number}" for number, name in enumerate(names))
    yield "]"


def spec_of(table: Mapping[str, Any]) -> AtlasSpec:
    """Return the kind of images that the keys of `atlas.toml` describe. They must be valid."""
    return AtlasSpec(
        name=table["name"],
        channels=tuple(table["channels"]),
        file_pattern=table["file_pattern"],
        labels=tuple(table["labels"]),
        max_value=table.get("max_value"),
        min_value=table.get("min_value"),
    )
