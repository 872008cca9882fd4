"""What kind of images a folder holds: `atlas.toml`, or the Human Protein Atlas of 2018."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.channels import HPA_CHANNELS
from atlas.errors import DataError
from atlas.labels import HPA_LABELS

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
    path = data / "atlas.toml"
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


def _problems(table: dict[str, object]) -> list[str]:
    found = [
        f"key {key!r} is unknown; known are {', '.join(KEYS)}" for key in table.keys() - {*KEYS}
    ]
    for key in ("channels", "labels"):
        value = table.get(key)
        strings = isinstance(value, list) and value and all(isinstance(v, str) for v in value)
        if not strings:
            found.append(f"{key} must be a list of names that is not empty")
        elif isinstance(value, list) and len(set(value)) < len(value):
            found.append(f"{key} has a name twice")
    found.extend(_pattern_problems(table.get("file_pattern"), table.get("channels")))
    max_value = table.get("max_value", 1)
    if not isinstance(max_value, int) or max_value < 1:
        found.append(f"max_value {max_value!r} is not a positive whole number")
    return found


def _pattern_problems(pattern: object, channels: object) -> list[str]:
    if not isinstance(pattern, str) or "." not in pattern:
        return ['file_pattern must be a file name such as "{id}.png" or "{id}_{channel}.png"']
    try:
        names = {
            pattern.format(id="i", channel=c)
            for c in (channels if isinstance(channels, list) else ["c"])
        }
        ids = {pattern.format(id=i, channel="c") for i in ("i", "j")}
    except (KeyError, IndexError, ValueError):
        return [f"file_pattern {pattern!r} may hold only {{id}} and {{channel}}"]
    if len(ids) < 2:
        return [f"file_pattern {pattern!r} must hold {{id}}"]
    if isinstance(channels, list) and len(channels) > 1 and len(names) < len(channels):
        return [
            f"file_pattern {pattern!r} must hold {{channel}}: there are {len(channels)} channels"
        ]
    return []
