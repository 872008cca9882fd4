"""A page that needs no other file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.atlas.report.planted_claims import CLAIMS, submitted


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page that fails the test if its script fails or requests another file."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    view = context.new_page()
    wrong: list[str] = []
    asked: list[str] = []
    view.on("pageerror", lambda error: wrong.append(str(error)))
    view.on(
        "console",
        lambda reported: wrong.append(reported.text) if reported.type == "error" else None,
    )
    view.on("request", lambda request: asked.append(request.url))
    yield view
    itself = view.url.partition("#")[0]
    context.close()
    assert wrong == []
    # The page makes the file of verdicts itself.
    others = [url for url in asked if not url.startswith(("data:", "blob:"))]
    assert {url.partition("#")[0] for url in others} == {itself}


@pytest.fixture
def opened(page: Page, tmp_path: Path) -> Page:
    """Return the page of a submission with planted claims, so large that all rows exist."""
    page.set_viewport_size({"width": 1280, "height": 1500})
    page.goto(submitted(tmp_path / "report.html", CLAIMS).as_uri())
    return page
