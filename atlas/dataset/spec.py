"""What kind of images a folder holds: `atlas.toml`, or the Human Protein Atlas of 2018."""

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from atlas.core.errors import DataError
from atlas.dataset.hpa import HPA_CHANNELS, HPA_LABELS
from atlas.dataset.images import ENDINGS

SPEC_FILE = "atlas.toml"
KEYS = ("name", "channels", "file_pattern", "labels", "max_value")


@dataclass(frozen=True, kw_only=True)
class AtlasSpec:
    """One atlas.

    channels: in the order of array axis C.
    file_pattern: with `{id}`, and `{channel}` where there is a file for each channel; its ending
        may differ on disk (PNG, JPEG or TIFF).
    max_value: the count that maps to white; None takes the range of the file's type.
    """

    name: str
    channels: tuple[str, ...]
    file_pattern: str
    labels: tuple[str, ...]
    max_value: int | None = None

    def file_stem(self, image_id: str, channel: str) -> str:
        """The file's name without its ending."""
        return self.file_pattern.format(id=image_id, channel=channel).rsplit(".", 1)[0]


HPA_2018 = AtlasSpec(
    name="Human Protein Atlas 2018",
    channels=HPA_CHANNELS,
    file_pattern="{id}_{channel}.png",
    labels=HPA_LABELS,
)


def read_spec(data: Path) -> AtlasSpec:
    """The atlas of a data folder; without `atlas.toml` it is HPA 2018. Raises DataError."""
    path = data / SPEC_FILE
    if not path.exists():
        return HPA_2018
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(str(path), [f"not valid TOML: {error}"]) from error
    problems = list(_problems(table))
    if problems:
        raise DataError(str(path), problems)
    return spec_of({"name": data.name, **table})


def spec_of(table: Mapping[str, Any]) -> AtlasSpec:
    """From the keys of `atlas.toml`, already checked."""
    return AtlasSpec(
        name=table["name"],
        channels=tuple(table["channels"]),
        file_pattern=table["file_pattern"],
        labels=tuple(table["labels"]),
        max_value=table.get("max_value"),
    )


def _problems(table: Mapping[str, Any]) -> list[str]:
    unknown = sorted(table.keys() - {*KEYS})
    found = [f"key {key!r} is unknown; known are {', '.join(KEYS)}" for key in unknown]
    if not isinstance(table.get("name", ""), str):
        found.append("name must be a text in quotes")
    for key in ("channels", "labels"):
        found.extend(_names_problems(key, table.get(key)))
    if not any(text.startswith("channels") for text in found):
        found.extend(_pattern_problems(table.get("file_pattern"), table["channels"]))
    max_value = table.get("max_value", 1)
    if type(max_value) is not int or not 1 <= max_value <= 65535:
        found.append(f"max_value {max_value!r} is not a whole number in 1..65535")
    return found


def _names_problems(key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        return [f"{key} must be a list of names that is not empty"]
    if not all(isinstance(name, str) and name for name in value):
        return [f"{key} must hold names in quotes, none of them empty"]
    twice = sorted(name for name, count in Counter(value).items() if count > 1)
    return [f"{key} has a name twice: {', '.join(twice)}"] if twice else []


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
        return [f"file_pattern {pattern!r} must hold {{id}}, and else only {{channel}}"]
    if any("/" in name or "\\" in name for name in names):
        return [f"file_pattern {pattern!r} leads into another folder; images lie in train/, test/"]
    if not names[0].lower().endswith(ENDINGS):
        return [f"file_pattern {pattern!r} must end in one of {', '.join(ENDINGS)}"]
    if len(set(names)) < len(channels):
        count = len(channels)
        return [f"file_pattern {pattern!r} must hold {{channel}}: there are {count} channels"]
    return []
