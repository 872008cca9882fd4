"""Text files that users write with editors and spreadsheets: their encodings, and TOML."""

import codecs
import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from atlas.core.escaping import quoted

_LINE_END = re.compile(rb"\r\n|\r|\n")


def decoded(encoded: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 if it starts with a byte-order mark.

    Windows editors and spreadsheets write a byte-order mark, which is not part of the text.

    Raises:
        UnicodeDecodeError: The text has another encoding. `line_of` returns the line.
    """
    utf16 = encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return encoded.decode("utf-16" if utf16 else "utf-8-sig")


def line_of(error: UnicodeDecodeError) -> int:
    """Return the line of a text that `decoded` could not decode."""
    return len(_LINE_END.findall(error.object[: error.start])) + 1


def parsed_toml(encoded: bytes) -> dict[str, Any]:
    """Return the table of a TOML file.

    Raises:
        ValueError: The file is not valid TOML. The text says where.
    """
    try:
        return tomllib.loads(decoded(encoded))
    except UnicodeDecodeError as error:
        raise ValueError(f"line {line_of(error)} is not UTF-8 text; save the file as UTF-8") from (
            error
        )
    except RecursionError as error:
        raise ValueError("its tables or lists are nested too deeply") from error


def unknown_key(key: str, known: Sequence[str]) -> str:
    """Return a line about a key of a TOML file that means nothing, with the nearest one that does.

    Example:
        >>> unknown_key("chanels", ("name", "channels"))
        "key 'chanels' is unknown; did you mean channels? known keys are name, channels"
    """
    nearest = get_close_matches(key.lower(), known, n=1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    return f"key {quoted(key)} is unknown; {meant}known keys are {', '.join(known)}"
