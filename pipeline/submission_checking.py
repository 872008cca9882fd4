"""Any submission file against the atlas that it is for."""

from dataclasses import dataclass
from pathlib import Path

from atlas.errors import DataError
from atlas.manifest import read_test_ids
from atlas.spec import read_spec
from atlas.submission_check import check_submission


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a submission for an atlas holds: these ids in this order, labels 0..label_count - 1."""

    ids: tuple[str, ...]
    label_count: int


def asked_of(data: Path) -> Asked:
    """By sample_submission.csv and the atlas's labels. Raises DataError where no test is named."""
    ids = read_test_ids(data)
    if not ids:
        raise DataError(str(data), ["sample_submission.csv names no test images"])
    return Asked(ids=ids, label_count=len(read_spec(data).labels))


def check_submission_of(data: Path, path: Path) -> Asked:
    """What was asked; raises DataError with every problem of the file at `path`."""
    asked = asked_of(data)
    check_submission(path, asked.ids, asked.label_count)
    return asked
