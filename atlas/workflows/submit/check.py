"""Whether a file is a submission: the rows asked for, in their order, with labels of the atlas."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import DataError
from atlas.dataset.artifacts import SUBMISSION_COLUMNS
from atlas.dataset.labels import label_problems, parse_labels
from atlas.dataset.manifest import require_test_ids
from atlas.dataset.spec import read_spec
from atlas.dataset.tables import table_rows

SHOWN_IDS = 5


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a submission has to hold: these ids in this order, labels 0..label_count - 1."""

    ids: tuple[str, ...]
    label_count: int


def asked_of(data: Path) -> Asked:
    """Return what the atlas in `data` asks for; raises DataError where it names no test images."""
    return Asked(ids=require_test_ids(data), label_count=len(read_spec(data).labels))


def check_submission_of(data: Path, path: Path) -> Asked:
    """Return what was asked for; raises DataError with every problem of the file at `path`."""
    asked = asked_of(data)
    check_submission(path, asked.ids, asked.label_count)
    return asked


def check_submission(path: Path, ids: Sequence[str], label_count: int) -> None:
    """Raise DataError with everything that is wrong with `path`, all at once.

    Each of the ids must have one row, in their order, with at least one label; labels are numbers
    in 0..label_count - 1, none of them twice in a row.
    """
    problems: list[str] = []
    rows = list(table_rows(path, SUBMISSION_COLUMNS, problems))
    if rows:
        problems += _column_problems(path, rows[0][1])
        problems += _id_problems(path, [(where, row["Id"]) for where, row in rows], ids)
        for where, row in rows:
            problems += (f"{where}: {said}" for said in _label_problems(row, label_count))
    if problems:
        raise DataError(str(path), problems)


def _column_problems(path: Path, row: dict[str, str]) -> Iterator[str]:
    if extra := [repr(name) for name in row if name not in SUBMISSION_COLUMNS]:
        yield f"{path.name}, line 1: {', '.join(extra)}: only Id and Predicted are asked for"


def _id_problems(path: Path, found: Sequence[tuple[str, str]], ids: Sequence[str]) -> Iterator[str]:
    asked, seen = set(ids), dict[str, str]()
    for where, image_id in found:
        if image_id not in asked:
            yield f"{where}: id {image_id!r} is not one of sample_submission.csv"
        elif image_id in seen:
            yield f"{where}: id {image_id} stands already in {seen[image_id]}"
        else:
            seen[image_id] = where
    if missing := [image_id for image_id in ids if image_id not in seen]:
        shown = ", ".join(missing[:SHOWN_IDS]) + (", ..." if len(missing) > SHOWN_IDS else "")
        yield f"{path.name}: {len(missing)} of {len(ids)} asked ids have no row: {shown}"
    wanted = (image_id for image_id in ids if image_id in seen)
    for (image_id, where), expected in zip(seen.items(), wanted, strict=True):
        if image_id != expected:
            yield (
                f"{where}: id {image_id} stands where sample_submission.csv has {expected}; "
                "its order is asked for"
            )
            return


def _label_problems(row: dict[str, str], label_count: int) -> Iterator[str]:
    image_id, text = row["Id"], row["Predicted"]
    problems = label_problems(text, label_count, column="Predicted")
    yield from (f"{image_id}: {problem}" for problem in problems)
    for label, times in Counter(_numbers(text)).items():
        if times > 1:
            yield f"{image_id}: label {label} stands there {times} times"


def _numbers(text: str) -> tuple[int, ...]:
    """The labels of a cell; none where it is not numbers, which is a problem of its own."""
    try:
        return parse_labels(text)
    except ValueError:
        return ()
