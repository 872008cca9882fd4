"""The check of a submission: it must have the requested rows in order, with labels of the atlas."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import DataError
from atlas.dataset.artifacts import SUBMISSION_COLUMNS
from atlas.dataset.labels import label_problems, parse_labels
from atlas.dataset.manifest import require_test_ids
from atlas.dataset.spec import read_spec
from atlas.dataset.table_file import COMMA
from atlas.dataset.tables import table_rows

SHOWN_IDS = 5


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The required contents of a submission.

    Attributes:
        ids: The ids, in the required order.
        label_count: The number of labels, which are numbered from 0.
    """

    ids: tuple[str, ...]
    label_count: int


def asked_of(data: Path) -> Asked:
    """Return what a submission for the atlas in `data` must contain.

    Raises:
        DataError: The atlas has no test images.
    """
    return Asked(ids=require_test_ids(data), label_count=len(read_spec(data).labels))


def check_submission_of(data: Path, path: Path) -> Asked:
    """Check the file at `path` and return what it must contain.

    Raises:
        DataError: The file has problems; the error lists all of them.
    """
    asked = asked_of(data)
    check_submission(path, asked.ids, asked.label_count)
    return asked


def check_submission(path: Path, ids: Sequence[str], label_count: int) -> None:
    """Check a submission.

    Each id must have one row, in the given order, with at least one label. Labels are numbers from
    0 to label_count - 1, and none may occur twice in a row.

    Raises:
        DataError: The file has problems; the error lists all of them.
    """
    problems: list[str] = []
    rows = list(table_rows(path, SUBMISSION_COLUMNS, problems, separators=COMMA))
    problems += _encoding_problems(path)
    if rows:
        problems += _column_problems(path, rows[0][1])
        problems += _id_problems(path, [(where, row["Id"]) for where, row in rows], ids)
        for where, row in rows:
            problems += (f"{where}: {said}" for said in _label_problems(row, label_count))
    if problems:
        raise DataError(str(path), problems)


def _encoding_problems(path: Path) -> Iterator[str]:
    """Yield a problem if the file is not UTF-8, which alone is sure to be accepted."""
    if path.is_file() and path.read_bytes().startswith((BOM_UTF16_BE, BOM_UTF16_LE)):
        yield f"{path.name} is UTF-16; save the submission as CSV in UTF-8"


def _column_problems(path: Path, row: dict[str, str]) -> Iterator[str]:
    if extra := [repr(name) for name in row if name not in SUBMISSION_COLUMNS]:
        yield f"{path.name}, line 1: remove {', '.join(extra)}; only Id and Predicted are allowed"


def _id_problems(path: Path, found: Sequence[tuple[str, str]], ids: Sequence[str]) -> Iterator[str]:
    asked, seen = set(ids), dict[str, str]()
    for where, image_id in found:
        if image_id not in asked:
            yield f"{where}: id {image_id!r} is not in sample_submission.csv"
        elif image_id in seen:
            yield f"{where}: id {image_id} is already in {seen[image_id]}"
        else:
            seen[image_id] = where
    if missing := [image_id for image_id in ids if image_id not in seen]:
        shown = ", ".join(missing[:SHOWN_IDS]) + (", ..." if len(missing) > SHOWN_IDS else "")
        yield f"{path.name}: {len(missing)} of {len(ids)} ids have no row: {shown}"
    wanted = (image_id for image_id in ids if image_id in seen)
    for (image_id, where), expected in zip(seen.items(), wanted, strict=True):
        if image_id != expected:
            yield (
                f"{where}: id {image_id} is in the place of {expected}; rows must have the order "
                "of sample_submission.csv"
            )
            return


def _label_problems(row: dict[str, str], label_count: int) -> Iterator[str]:
    image_id, text = row["Id"], row["Predicted"]
    problems = label_problems(text, label_count, column="Predicted")
    yield from (f"{image_id}: {problem}" for problem in problems)
    for label, times in Counter(_numbers(text)).items():
        if times > 1:
            yield f"{image_id}: label {label} is given {times} times"


def _numbers(text: str) -> tuple[int, ...]:
    """Return the labels of a cell; none if it has other text, which `label_problems` reports."""
    try:
        return parse_labels(text)
    except ValueError:
        return ()
