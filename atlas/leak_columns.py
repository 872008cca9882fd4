"""Which column of a leak table is what: known by its name, else by what it holds.

Its authors called the test image `Id`, `Test` or nothing at all, and the labels `Target` or
`Site Parsed Labels`; a distance of hashes reads like a label, so content alone decides nothing
that a name says.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from atlas.errors import UserError
from atlas.hpa_v18 import parse_hpa_id
from atlas.labels import parse_labels
from atlas.leak_sheet import Sheet

# In lower case, the surest first.
ID_NAMES = ("id", "test", "test_id", "testid", "image_id", "imageid", "image", "query_id")
LABEL_NAMES = ("target", "labels", "label", "predicted")
LABEL_WORDS = ("label", "target")
MATCH_NAMES = ("candidate", "extra", "match", "match_id", "external", "source")
DOUBT_WORD = "questionable"

_BETWEEN_LABELS = re.compile(r"[][(){},;|]")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns. match, doubt: None where there is none; unread: what nothing is made of."""

    id: str
    labels: str
    match: str | None
    doubt: str | None
    distances: tuple[str, ...]
    unread: tuple[str, ...]


def find_columns(sheet: Sheet, *, label_count: int, test_ids: Collection[str]) -> Columns:
    """test_ids: of the atlas, or none where it is not known. Raises UserError."""
    labels = _labels_column(sheet, label_count)
    left = [name for name in sheet.header if name != labels]
    image = _id_column(sheet, left, test_ids)
    left.remove(image)
    match = _match_column(sheet, left)
    doubt = next((name for name in left if DOUBT_WORD in name.lower()), None)
    left = [name for name in left if name not in (match, doubt)]
    distances = tuple(name for name in left if _is_distance(sheet, name))
    unread = tuple(name for name in left if name not in distances)
    return Columns(
        id=image, labels=labels, match=match, doubt=doubt, distances=distances, unread=unread
    )


def labels_in(text: str, label_count: int) -> tuple[int, ...] | None:
    """Numbers with spaces, commas or the like between them; None where the text is no labels."""
    try:
        labels = parse_labels(_BETWEEN_LABELS.sub(" ", text))
    except ValueError:
        return None
    return labels if all(0 <= label < label_count for label in labels) else None


def _labels_column(sheet: Sheet, label_count: int) -> str:
    if named := _named(sheet.header, LABEL_NAMES):
        return named
    worded = [n for n in sheet.header if any(word in n.lower() for word in LABEL_WORDS)]
    if found := worded or [n for n in sheet.header if _holds_labels(sheet, n, label_count)]:
        if len(found) > 1:
            raise UserError(f"{sheet.name} line 1: {_listed(found)} could all be the labels; "
                            "call the one that counts Target")  # fmt: skip
        return found[0]
    raise UserError(f"{sheet.name} line 1: none of the columns {_listed(sheet.header)} holds "
                    "labels; call that column Target")  # fmt: skip


def _holds_labels(sheet: Sheet, name: str, label_count: int) -> bool:
    """Numbers in range all over, and several of them somewhere, as no distance has."""
    found = [labels_in(cell, label_count) for cell in sheet.holds(name)]
    return all(some is not None for some in found) and any(some and some[1:] for some in found)


def _id_column(sheet: Sheet, left: Sequence[str], test_ids: Collection[str]) -> str:
    """Of the atlas's test images, else by name, else the only column of ids that are no matches."""
    if test_ids:
        known = {name: sum(c in test_ids for c in sheet.cells(name)) for name in left}
        if any(known.values()):
            return max(left, key=known.__getitem__)
    elif named := _named(left, ID_NAMES):
        return named
    elif len(found := [n for n in left if n.lower() not in MATCH_NAMES and _is_id(sheet, n)]) == 1:
        return found[0]
    what = "ids of the atlas's test images" if test_ids else "the test ids for sure"
    raise UserError(f"{sheet.name} line 1: none of the columns {_listed(left)} holds {what}; "
                    "call that column Id, and check --data")  # fmt: skip


def _is_id(sheet: Sheet, name: str) -> bool:
    cells = sheet.cells(name)
    return all(cell and not _is_number(cell) and not parse_hpa_id(cell) for cell in cells)


def _match_column(sheet: Sheet, left: Sequence[str]) -> str | None:
    if named := _named(left, MATCH_NAMES):
        return named
    return next((n for n in left if _all(sheet, n, lambda c: parse_hpa_id(c) is not None)), None)


def _is_distance(sheet: Sheet, name: str) -> bool:
    """Numbers with a name: numbers without are those of the rows."""
    if not name or any(word in name.lower() for word in LABEL_WORDS):
        return False
    return _all(sheet, name, _is_number)


def _all(sheet: Sheet, name: str, test: Callable[[str], bool]) -> bool:
    cells = sheet.holds(name)
    return bool(cells) and all(map(test, cells))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", cell.lower()) is not None


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    spelled = {column.lower(): column for column in columns}
    return next((spelled[name] for name in names if name in spelled), None)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns))
