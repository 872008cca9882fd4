"""The kind of images that a folder holds, and where they lie.

The file `atlas.toml` describes both. Without it, a folder with tables is read as that of the Human
Protein Atlas of 2018, and a folder without tables as a plain folder of pictures.
"""

import json
import math
import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from atlas.core.errors import DataError
from atlas.dataset.hpa import HPA_CHANNELS, HPA_LABELS
from atlas.dataset.picture_files import ENDINGS, file_of_stem, is_picture_name, leads_inside
from atlas.dataset.plain_folder import PlainFolder, is_plain, read_plain_folder
from atlas.dataset.tables import TABLES, Split

SPEC_FILE = "atlas.toml"
KEYS = ("name", "channels", "file_pattern", "labels", "min_value", "max_value", "images")
PATH_PATTERN = "{id}"  # ids are the relative paths of their files
PICTURE_CHANNELS = (1, 3)  # one file can hold gray, or red, green and blue
STACKS = (".tif", ".tiff")  # files that can hold any number of channels


@dataclass(frozen=True, kw_only=True)
class AtlasSpec:
    """The kind of images of an atlas.

    Attributes:
        name: The name of the atlas.
        channels: The names of the channels in the order of array axis C.
        file_pattern: The pattern of file names, with `{id}`, and `{channel}` if each channel has a
            file of its own. The ending of a file may differ. Without `{channel}`, one file holds
            the only channel, all three as red, green and blue, or, as TIFF, any number of
            channels. `{id}` alone means that ids are the relative paths of files.
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

    def names(self, image_id: str) -> bool:
        """Return whether an id can be part of the file names of an image."""
        if self.by_path:
            return leads_inside(image_id) and is_picture_name(image_id)
        return bool(image_id) and image_id.isprintable() and not set(image_id) & {"/", "\\"}

    def file_stem(self, image_id: str, channel: str) -> str:
        """Return the name of a file without its ending."""
        named = image_id if self.by_path else self.file_pattern.format(id=image_id, channel=channel)
        return os.path.splitext(named)[0] if self.by_path else named.rsplit(".", 1)[0]

    def files_in(self, folder: Path, image_id: str) -> tuple[Path | None, ...]:
        """Return the file of an image for each of `file_channels`, or None if it is missing."""
        if not self.names(image_id):
            return (None,) * len(self.file_channels)
        if self.by_path:
            file = folder / image_id
            return (file if file.is_file() else None,)
        stems = (self.file_stem(image_id, channel) for channel in self.file_channels)
        return tuple(file_of_stem(folder, stem) for stem in stems)


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
    """
    if (data / SPEC_FILE).exists():
        return spec_of({"name": data.name, **_read_toml(data / SPEC_FILE)})
    return spec_of_plain(read_plain_folder(data)) if is_plain(data) else HPA_2018


def image_folders(data: Path) -> dict[Split, Path]:
    """Return the folder of the images of each split. The folders need not exist.

    By default they are the subfolders train, external and test. `[images]` of `atlas.toml` names
    others, relative to that file or absolute.

    Raises:
        DataError: `atlas.toml` is not valid.
    """
    usual = {split: data / split for split in TABLES}
    if (data / SPEC_FILE).exists():
        named = _read_toml(data / SPEC_FILE).get("images", {})
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


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(str(path), [f"not valid TOML: {error}"]) from error
    if problems := list(_problems(table)):
        raise DataError(str(path), problems)
    return table


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


def _problems(table: Mapping[str, Any]) -> list[str]:
    unknown = sorted(table.keys() - {*KEYS})
    found = [f"key {key!r} is unknown; known keys are {', '.join(KEYS)}" for key in unknown]
    if not isinstance(table.get("name", ""), str):
        found.append("name must be a text in quotes")
    for key in ("channels", "labels"):
        if key == "labels" and table.get(key) == [] and table.get("file_pattern") == PATH_PATTERN:
            continue  # a folder of pictures may have no labels
        found.extend(_names_problems(key, table.get(key)))
    found.extend(_images_problems(table.get("images", {})))
    if not any(text.startswith("channels") for text in found):
        found.extend(_pattern_problems(table.get("file_pattern"), table["channels"]))
    found.extend(_range_problems(table))
    return found


def _range_problems(table: Mapping[str, Any]) -> list[str]:
    high, low = table.get("max_value", 1), table.get("min_value", 0)
    if type(high) not in (int, float) or (type(high) is int and not 1 <= high <= 65535):
        return [
            f"max_value must be a whole number from 1 to 65535 (got {high!r}), or a decimal number "
            "such as 1.0 for floating-point pixels"
        ]
    if type(low) not in (int, float) or not -math.inf < low < high < math.inf:
        return [f"min_value must be a number below max_value (got {low!r})"]
    if "min_value" in table and "max_value" not in table:
        return ["min_value needs max_value"]
    return []


def _names_problems(key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        return [f"{key} must be a list with at least one name"]
    if not all(isinstance(name, str) and name for name in value):
        return [f"{key} must hold names in quotes, and none may be empty"]
    twice = sorted(name for name, count in Counter(value).items() if count > 1)
    return [f"{key} has the same name twice: {', '.join(twice)}"] if twice else []


def _pattern_problems(pattern: object, channels: list[str]) -> list[str]:
    example = 'a file name such as "{id}.png" or "{id}_{channel}.png"'
    if not isinstance(pattern, str):
        return [f"file_pattern must be {example}"]
    try:
        fields = {field for _, field, _, _ in Formatter().parse(pattern) if field is not None}
        names = [pattern.format(id="id", channel=channel) for channel in channels]
    except (ValueError, LookupError, AttributeError, TypeError):
        return [f"file_pattern {pattern!r} is not {example}"]
    if not {"id"} <= fields <= {"id", "channel"}:
        return [f"file_pattern {pattern!r} must contain {{id}}, and may contain {{channel}}"]
    if pattern == PATH_PATTERN:
        return _picture_problems(pattern, channels)
    if any("/" in name or "\\" in name for name in names):
        return [f"file_pattern {pattern!r} must not name a folder; use [images] for folders"]
    if not names[0].lower().endswith(ENDINGS):
        return [f"file_pattern {pattern!r} must end in one of {', '.join(ENDINGS)}"]
    if "channel" in fields or names[0].lower().endswith(STACKS):
        return []
    return _picture_problems(pattern, channels)


def _picture_problems(pattern: str, channels: list[str]) -> list[str]:
    if len(channels) in PICTURE_CHANNELS:
        return []
    return [
        f"file_pattern {pattern!r} must contain {{channel}}: there are {len(channels)} channels, "
        "and one file holds 1 or 3, unless it is a TIFF"
    ]


def _images_problems(images: object) -> list[str]:
    if not isinstance(images, dict):
        return ["images must be a table [images] of folders"]
    unknown = sorted(images.keys() - {*TABLES})
    found = [f"[images] {key!r} is unknown; known keys are {', '.join(TABLES)}" for key in unknown]
    wrong = [key for key, path in images.items() if not isinstance(path, str) or not path]
    return found + [f"[images] {key} must be the path of a folder, in quotes" for key in wrong]
