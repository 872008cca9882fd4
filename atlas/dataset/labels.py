"""Labels as numbers and as the text of tables.

This module alone parses, checks and formats the text `"7 1"` of a table's cell.
"""

import re
from collections.abc import Iterable


def format_labels(labels: Iterable[int]) -> str:
    """Return label numbers as the tables hold them: `(7, 1)` gives `"7 1"`."""
    return " ".join(str(label) for label in labels)


def parse_labels(text: str) -> tuple[int, ...]:
    """Return the inverse of `format_labels`.

    Raises ValueError where a word is not a whole number.
    """
    words = text.split()
    for word in words:
        if not re.fullmatch(r"-?[0-9]{1,9}", word):  # int() would also take "1_0" and "+1"
            raise ValueError(f"{word!r} is not a whole number")
    return tuple(int(word) for word in words)


def distinct_labels(text: str) -> tuple[int, ...]:
    """Return the labels of a cell in their order; a label written twice means the same as once.

    Raises ValueError as `parse_labels`.
    """
    return tuple(dict.fromkeys(parse_labels(text)))


def label_problems(text: str, label_count: int, *, column: str = "Target") -> list[str]:
    """Return everything wrong with a table's cell, which names one label at least.

    column: The cell's column, as messages name it.
    """
    try:
        labels = parse_labels(text)
    except ValueError:
        return [f"{column} {text!r} is not numbers joined by spaces"]
    if not labels:
        return ["no label"]
    known = range(label_count)
    return [
        f"label {label} is not one of 0..{label_count - 1}"
        for label in dict.fromkeys(labels)
        if label not in known
    ]
