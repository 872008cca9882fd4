from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page

from atlas.service.review_app import review_app
from atlas.service.serving import address_of, listening, served
from atlas.workflows.review.pictures import ReviewPictures
from atlas.workflows.review.queue import Queue, read_queue
from atlas.workflows.review.verdicts import Review
from atlas.workflows.run_folder import RunFolder
from tests.atlas.service.review_pages import Opens
from tests.atlas.workflows.review.made_run import write_run

OFFLINE = "net::ERR_CONNECTION_REFUSED"


@pytest.fixture(scope="session")
def made_queue(tmp_path_factory: pytest.TempPathFactory) -> Queue:
    data, run = write_run(tmp_path_factory.mktemp("made"))
    return read_queue(run, data)


@pytest.fixture
def review(made_queue: Queue, tmp_path: Path) -> Review:
    """A review without verdicts, which writes into the folder of the test only."""
    return Review(replace(made_queue, run=RunFolder(tmp_path), data=tmp_path))


@pytest.fixture
def app(review: Review) -> FastAPI:
    return review_app(review, ReviewPictures(review.queue), reviewer="Ann")


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """The address of a running server."""
    with listening(0) as listener, served(app, listener):
        yield address_of(listener)


@pytest.fixture
def opens(browser: Browser, address: str) -> Iterator[Opens]:
    """Open the page as a reviewer; scripts that fail, or load something else, fail the test."""
    wrong: list[str] = []
    contexts = []

    def noted(text: str) -> None:
        if OFFLINE not in text:
            wrong.append(text)

    def open_(
        query: str = "", *, reviewer: str | None = "Ann", at: str = address, **how: object
    ) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: noted(str(error)))
        page.on("console", lambda one: noted(one.text) if one.type == "error" else None)
        page.on(
            "request", lambda one: None if one.url.startswith((at, "blob:")) else noted(one.url)
        )
        if reviewer:
            page.add_init_script(f"localStorage.setItem('atlas-review-name', '{reviewer}')")
        page.goto(at + query)
        page.locator("body[data-ready]").wait_for()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []
