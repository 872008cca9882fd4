"""The run that the page of a review is measured on."""

from pathlib import Path

from atlas.workflows.review.queue import read_queue
from benchmarks.review_page import COPIES, write_run


def test_a_run_has_as_many_claims_as_asked_and_a_group(tmp_path: Path) -> None:
    data, run = write_run(tmp_path, 6)
    queue = read_queue(run, data)
    assert [one.kind for one in queue.pairs] == ["claim"] * 6
    assert [len(one.copies) for one in queue.groups] == [min(6, COPIES)]
