"""The file `truth.csv`, which holds the known labels of test images."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from atlas.core.errors import DataError
from atlas.dataset.artifacts import NOVEL, SAME_IMAGE, SIBLING
from atlas.dataset.labels import label_problems
from atlas.dataset.manifest import read_test_ids
from atlas.dataset.spec import read_spec
from atlas.dataset.table_file import is_missing
from atlas.dataset.tables import table_rows

TRUTH_FILE = "truth.csv"
TRUTH_COLUMNS = ("Id", "relation", "source", "edit", "Target")
NEEDED, OPTIONAL = ("Id", "Target"), ("relation", "source", "edit")
RELATIONS = (SAME_IMAGE, SIBLING, NOVEL)


def read_truth(data: Path) -> pd.DataFrame | None:
    """Return the rows of `truth.csv` in a data folder as texts, or None if the file does not exist.

    The columns Id and Target are required; relation, source and edit are optional.

    Raises:
        DataError: The file is not a table, or rows are wrong. Every problem is listed with its
            line.
    """
    if not (data / TRUTH_FILE).exists():
        return None
    problems: list[str] = []
    rows = list(table_rows(data / TRUTH_FILE, NEEDED, problems, optional=OPTIONAL))
    problems += _problems(rows, set(read_test_ids(data)), len(read_spec(data).labels))
    if problems:
        raise DataError(str(data), problems)
    return pd.DataFrame([row for _, row in rows])


def _problems(
    rows: list[tuple[str, dict[str, str]]], test_ids: set[str], label_count: int
) -> Iterator[str]:
    seen: dict[str, str] = {}
    for where, row in rows:
        image_id, relation = row["Id"], row.get("relation", "")
        if image_id not in test_ids:
            yield f"{where}: {image_id} is not a test image of sample_submission.csv"
        if image_id in seen:
            yield f"{where}: {image_id} is already in {seen[image_id]}; keep one"
        yield from (f"{where}: {image_id}: {p}" for p in label_problems(row["Target"], label_count))
        if relation not in RELATIONS and relation.lower() in RELATIONS:
            yield f"{where}: {image_id}: relation {relation} must be written {relation.lower()}"
        if relation == SAME_IMAGE and is_missing(row.get("source", "")):
            yield f"{where}: {image_id}: source is empty; relation {relation} needs one"
        seen.setdefault(image_id, where)
