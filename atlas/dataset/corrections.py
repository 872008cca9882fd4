"""The table `corrections.csv` of a data folder, whose labels replace those of the other tables.

So the tables themselves stay as they were. `atlas review` writes corrections into it, and people
may write some by hand.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from atlas.core.errors import UserError
from atlas.core.escaping import quoted
from atlas.dataset.artifacts import save_table
from atlas.dataset.labels import distinct_labels, format_labels, label_problems
from atlas.dataset.tables import CORRECTIONS_TABLE, TABLES, Draft, table_rows
from atlas.dataset.verdicts import Verdicts

LOGGER = logging.getLogger(__name__)
COLUMNS = ("Id", "Target")


def with_corrections(
    drafts: Sequence[Draft], data: Path, label_count: int, problems: list[str]
) -> list[Draft]:
    """Return the rows of labelled tables with the labels of corrections.csv, if there is one.

    Args:
        drafts: The rows of train.csv and external.csv.
        data: The data folder.
        label_count: The number of labels of the atlas.
        problems: The list to which problems of the table are added.
    """
    path = data / CORRECTIONS_TABLE
    if not path.exists():
        return list(drafts)
    known = {draft.id for draft in drafts}
    labels: dict[str, tuple[int, ...]] = {}
    for where, row in table_rows(path, COLUMNS, problems, may_be_empty=True):
        image_id = row["Id"]
        wrong = label_problems(row["Target"], label_count)
        if image_id not in known:
            wrong = [f"id {quoted(image_id)} is not a labelled image; remove the row"]
        elif image_id in labels:
            wrong = [f"id {image_id} occurs twice; keep one row"]
        problems += [f"{where}: {one}" for one in wrong]
        if not wrong:
            labels[image_id] = distinct_labels(row["Target"])
    return [replace(one, labels=labels.get(one.id, one.labels)) for one in drafts]


def write_corrections(data: Path, verdicts: Verdicts, key_of: Mapping[str, str]) -> None:
    """Let corrections.csv follow what people say about the labels of labelled images.

    Rows of images that nobody has corrected stay as they are. In a plain folder, whose subfolders
    are the labels, nothing is written.

    Args:
        data: The data folder.
        verdicts: All that people have said.
        key_of: The key of each labelled image, by id, see `image_keys.py`.
    """
    judged = verdicts.judged(key_of)
    if not judged.looked_at:
        return
    if not (data / TABLES["train"]).exists():
        LOGGER.warning(
            f"{data} has no tables, so corrected labels are kept in the run alone; `atlas init` "
            "writes tables, or move the pictures to other subfolders"
        )
    else:
        save_corrections(data, judged.labels, judged.looked_at)


def save_corrections(
    data: Path, labels: Mapping[str, tuple[int, ...]], replaced: Collection[str]
) -> Path:
    """Write corrections into corrections.csv, and return its path.

    Args:
        data: The data folder.
        labels: The right labels, by id.
        replaced: The ids whose rows in the table are replaced or removed; other rows stay.

    Raises:
        UserError: The table is there and cannot be read as a whole. It stays as it is.
    """
    path = data / CORRECTIONS_TABLE
    rows = {i: target for i, target in _rows_there(path).items() if i not in set(replaced)}
    rows |= {image_id: format_labels(right) for image_id, right in labels.items()}
    save_table(path, pd.DataFrame(sorted(rows.items()), columns=list(COLUMNS)))
    return path


def _rows_there(path: Path) -> dict[str, str]:
    """Return the rows of the table, or none without it.

    Raises:
        UserError: A row would be lost if the table were written again.
    """
    if not path.exists():
        return {}
    problems: list[str] = []
    rows: dict[str, str] = {}
    for where, row in table_rows(path, COLUMNS, problems, may_be_empty=True):
        if row["Id"] in rows:
            problems.append(f"{where}: id {quoted(row['Id'])} occurs twice; keep one row")
        rows[row["Id"]] = row["Target"]
    if problems:
        raise UserError(
            f"{path} cannot be changed, because rows would be lost: {problems[0]}; the corrections "
            "are kept in the run, and are written when the table is repaired"
        )
    return rows
