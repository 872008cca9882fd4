"""A browser for tests of pages."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH (Debian: apt-get install chromium)")
    with sync_playwright() as driver:
        # Chromium has no sandbox for root, the usual user of containers.
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


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
