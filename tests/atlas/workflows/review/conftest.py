from pathlib import Path

import pytest

from atlas.workflows.review.queue import Queue, read_queue
from tests.atlas.workflows.review.made_run import write_run


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The data and the run."""
    return write_run(tmp_path)


@pytest.fixture
def queue(folders: tuple[Path, Path]) -> Queue:
    data, run = folders
    return read_queue(run, data)
