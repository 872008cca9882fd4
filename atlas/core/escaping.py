"""Texts of others, such as ids, labels and file names, made harmless where they are shown.

A terminal obeys control characters, and a spreadsheet runs cells that look like formulas.
"""

import re
import unicodedata

# Characters that change the direction of the text around them.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_OBEYED = ("Cc", "Cs", "Zl", "Zp")  # controls, halves of characters, and separators of lines
_SHOWN_LETTERS = 60

# A number or a name behind a sign is shown as a number or an error, but it runs nothing. Signs
# alone are genotypes, such as "+/-".
_HARMLESS_BEHIND_SIGN = re.compile(r"[\w ./-]*|[+/-]*")


def escaped(text: str, *, keep: str = "\n\t") -> str:
    r"""Return a text with its control characters written as escapes, such as `\x1b`.

    Controls, characters that change the direction of text, and bytes of file names that are not
    UTF-8 are escaped, so that a name can neither move the cursor nor imitate other output.

    Args:
        text: The text.
        keep: The control characters that stay.

    Example:
        >>> print(escaped("a\x1b[31mb"))
        a\x1b[31mb
    """
    if text.isprintable():
        return text
    return "".join(_escape(letter) if _is_obeyed(letter, keep) else letter for letter in text)


def quoted(text: str) -> str:
    """Return a text in quotes for a message, with escapes, and shortened if it is long."""
    if len(text) <= _SHOWN_LETTERS:
        return repr(text)
    return f"{text[:_SHOWN_LETTERS]!r}... ({len(text):,} characters)"


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would run a cell with this text as a formula.

    Texts that begin with a sign and go on like a number or a name, such as "-1" or "+/cell", are
    not formulas that do anything.

    Example:
        >>> is_formula("=1+1"), is_formula("-cmd|x!A0"), is_formula("-1"), is_formula("a=1")
        (True, True, False, False)
    """
    if text.startswith(("=", "@", "\t", "\r")):
        return True
    return text.startswith(("+", "-")) and not _HARMLESS_BEHIND_SIGN.fullmatch(text[1:])


def _is_obeyed(letter: str, keep: str) -> bool:
    if letter in keep:
        return False
    return letter in _DIRECTIONS or unicodedata.category(letter) in _OBEYED


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
