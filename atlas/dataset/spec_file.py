"""The file `atlas.toml`: its keys, and all mistakes that it may have."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any

from atlas.core.errors import DataError
from atlas.core.escaping import escaped, is_formula, quoted
from atlas.core.text_files import parsed_toml, unknown_key
from atlas.dataset.image_folders import FOLDER_ENDINGS
from atlas.dataset.picture_files import ENDINGS
from atlas.dataset.tables import TABLES

KEYS = ("name", "channels", "file_pattern", "labels", "min_value", "max_value", "images")
PATH_PATTERN = "{id}"  # ids are the relative paths of their files
PICTURE_CHANNELS = (1, 3)  # one file can hold gray, or red, green and blue
STACKS = (".tif", ".tiff", *FOLDER_ENDINGS)  # they can hold any number of channels


def read_spec_file(path: Path) -> dict[str, Any]:
    """Return the keys of an `atlas.toml`.

    Raises:
        DataError: The file is not valid. All problems are listed.
    """
    try:
        table = parsed_toml(path.read_bytes())
    except OSError as error:
        raise DataError(str(path), [f"the file cannot be read ({error.strerror})"]) from error
    except ValueError as error:
        raise DataError(str(path), [f"not valid TOML: {error}"]) from error
    if problems := list(_problems(table)):
        raise DataError(str(path), problems)
    return table


def is_nearly(name: str, wanted: str) -> bool:
    """Return whether two names are equal, or differ by one letter that is wrong, missing or new."""
    equal = [a == b for a, b in zip(name, wanted, strict=False)]
    start = (*equal, False).index(False)
    left, right = name[start:], wanted[start:]
    return left[1:] == right[1:] or left[1:] == right or left == right[1:]


def _problems(table: Mapping[str, Any]) -> list[str]:
    found = [unknown_key(key, KEYS) for key in sorted(table.keys() - {*KEYS})]
    name = table.get("name", "")
    if not isinstance(name, str):
        found.append("name must be a text in quotes")
    elif escaped(name, keep="") != name:
        found.append(f"name has a control character: '{escaped(name, keep='')}'")
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
    if odd := [name for name in value if escaped(name, keep="") != name]:
        return [f"{key} has a control character in '{escaped(odd[0], keep='')}'"]
    if formulas := [name for name in value if is_formula(name)]:
        return [f"{key} has {formulas[0]!r}, which is a formula for spreadsheets; rename it"]
    twice = sorted(name for name, count in Counter(value).items() if count > 1)
    return [f"{key} has the same name twice: {', '.join(twice)}"] if twice else []


def _pattern_problems(pattern: object, channels: list[str]) -> list[str]:
    example = 'a file name such as "{id}.png" or "{id}_{channel}.png"'
    if not isinstance(pattern, str):
        return [f"file_pattern must be {example}"]
    wrong = f"file_pattern {quoted(pattern)}"
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError:
        return [f"{wrong} is not {example}"]
    fields = [field for _, field, _, _ in parts if field is not None]
    if any(style or conversion for _, _, style, conversion in parts):
        return [f"{wrong} must name {{id}} and {{channel}} alone, without : or ! in the braces"]
    if not {*fields} <= {"id", "channel"}:
        return [f"{wrong} is not {example}"]
    if fields.count("id") != 1:
        return [f"{wrong} must contain {{id}} once, and may contain {{channel}}"]
    if pattern == PATH_PATTERN:
        return _picture_problems(pattern, channels)
    names = [pattern.format(id="id", channel=channel) for channel in channels]
    if any("/" in name or "\\" in name for name in names):
        return [f"{wrong} must not name a folder; use [images] for folders"]
    if any(not name.isprintable() for name in names):
        return [f"{wrong} has a control character; remove it"]
    if not names[0].lower().endswith(ENDINGS):
        return [f"{wrong} must end in one of {', '.join(ENDINGS)}"]
    if "channel" in fields or names[0].lower().endswith(STACKS):
        return []
    return _picture_problems(pattern, channels)


def _picture_problems(pattern: str, channels: list[str]) -> list[str]:
    if len(channels) in PICTURE_CHANNELS:
        return []
    return [
        f"file_pattern {quoted(pattern)} must contain {{channel}}: there are {len(channels)} "
        "channels, and one file holds 1 or 3, unless it is a TIFF or an OME-Zarr"
    ]


def _images_problems(images: object) -> list[str]:
    if not isinstance(images, dict):
        return ["images must be a table [images] of folders"]
    unknown = sorted(images.keys() - {*TABLES})
    found = [f"[images] {key!r} is unknown; known keys are {', '.join(TABLES)}" for key in unknown]
    wrong = [
        key
        for key, path in images.items()
        if not isinstance(path, str) or not path or escaped(path, keep="") != path
    ]
    return found + [f"[images] {key} must be the path of a folder, in quotes" for key in wrong]
