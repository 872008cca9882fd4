from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from atlas.service.lookup_app import lookup_app
from atlas.service.serving import address_of, listening, served
from atlas.service.settings import ServeSettings
from atlas.workflows.serve.live_gallery import live_gallery
from tests.atlas.workflows.serve.made_service import write_served_run


@pytest.fixture
def served_at(tmp_path: Path) -> Iterator[str]:
    _, run = write_served_run(tmp_path)
    with (
        live_gallery(run) as live,
        lookup_app(live, run / "uploads", ServeSettings()) as app,
        listening(0) as listener,
        served(app, listener),
    ):
        yield address_of(listener)


def test_dropped_files_are_looked_up(served_at: str, tmp_path: Path, browser: Browser) -> None:
    page = browser.new_page()
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.goto(served_at)
    page.locator("#files").set_input_files(tmp_path / "data" / "test" / "copy0.png")
    expect(page.locator("#said")).to_contain_text("has the same pixels as field0_1")
    expect(page.locator("#said")).to_contain_text("Labels that follow: even. Confidence: 1.000.")
    expect(page.locator("#neighbours li")).to_have_count(6)
    picture = page.locator("#neighbours img").first
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("one => one.naturalWidth") > 0
    assert not problems
    page.locator("#files").set_input_files(tmp_path / "data" / "train.csv")
    expect(page.locator("#said")).to_contain_text("is not a readable PNG")
    expect(page.locator("#neighbours li")).to_have_count(0)
    page.close()
