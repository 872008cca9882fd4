"""Text files that users write with editors and spreadsheets: their encodings, and TOML."""

import codecs
import re
import tomllib
from typing import Any

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
