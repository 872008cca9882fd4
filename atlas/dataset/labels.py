"""Labels as numbers, and as the text of a table's cell such as `"7 1"`.

This module alone parses, checks and formats that text.
"""

import re
from collections.abc import Iterable

from atlas.core.escaping import quoted


def format_labels(labels: Iterable[int]) -> str:
    """Return label numbers as the text of a table's cell.

    Example:
        >>> format_labels((7, 1))
        '7 1'
    """
    return " ".join(str(label) for label in labels)


def parse_labels(text: str) -> tuple[int, ...]:
    """Return the label numbers of a table's cell.

    Raises:
        ValueError: A word is not a whole number.

    Example:
        >>> parse_labels("7 1")
        (7, 1)
    """
    words = text.split()
    for word in words:
        if not re.fullmatch(r"-?[0-9]{1,9}", word):  # int() would also accept "1_0" and "+1"
            raise ValueError(f"{word!r} is not a whole number")
    return tuple(int(word) for word in words)


def distinct_labels(text: str) -> tuple[int, ...]:
    """Return the label numbers of a table's cell in order, without repetitions.

    Raises:
        ValueError: A word is not a whole number.
    """
    return tuple(dict.fromkeys(parse_labels(text)))


def label_problems(text: str, label_count: int, *, column: str = "Target") -> list[str]:
    """Return all problems of a table's cell, which must name at least one label.

    Args:
        text: The text of the cell.
        label_count: The number of labels of the atlas.
        column: The name of the cell's column in messages.
    """
    try:
        labels = parse_labels(text)
    except ValueError:
        return [f"{column} {quoted(text)} must be numbers separated by spaces"]
    if not labels:
        return [f"{column} has no label"]
    known = range(label_count)
    return [
        f"label {label} is out of range 0\N{EN DASH}{label_count - 1}"
        for label in dict.fromkeys(labels)
        if label not in known
    ]
