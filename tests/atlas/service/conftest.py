from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from atlas.service.review_app import review_app
from atlas.service.serving import address_of, listening, served
from atlas.workflows.review.pictures import ReviewPictures
from atlas.workflows.review.queue import Queue, read_queue
from atlas.workflows.review.verdicts import Review
from atlas.workflows.run_folder import RunFolder
from tests.atlas.workflows.review.made_run import write_run


@pytest.fixture(scope="session")
def made_queue(tmp_path_factory: pytest.TempPathFactory) -> Queue:
    data, run = write_run(tmp_path_factory.mktemp("made"))
    return read_queue(run, data)


@pytest.fixture
def review(made_queue: Queue, tmp_path: Path) -> Review:
    """A review without verdicts, which writes into the folder of the test only."""
    return Review(replace(made_queue, run=RunFolder(tmp_path), data=tmp_path), reviewer_error=0.02)


@pytest.fixture
def app(review: Review) -> FastAPI:
    return review_app(review, ReviewPictures(review.queue), reviewer="Ann")


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """The address of a running server."""
    with listening(0) as listener, served(app, listener):
        yield address_of(listener)
