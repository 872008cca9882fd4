from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from atlas.service.review_app import review_app
from atlas.service.serving import address_of, listening, served
from atlas.workflows.review.pictures import ReviewPictures
from atlas.workflows.review.queue import read_queue
from atlas.workflows.review.verdicts import Review
from tests.atlas.workflows.review.made_run import write_run


@pytest.fixture
def review(tmp_path: Path) -> Review:
    data, run = write_run(tmp_path)
    return Review(read_queue(run, data), reviewer_error=0.02)


@pytest.fixture
def app(review: Review) -> FastAPI:
    return review_app(review, ReviewPictures(review.queue), reviewer="Ann")


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """The address of a running server."""
    with listening(0) as listener, served(app, listener):
        yield address_of(listener)
