"""The address of the page of a leak run, the page on paper, in narrow windows and in the dark."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.atlas.report.browsing import ids, row, until_address
from tests.atlas.report.planted_claims import CLAIMS, claim, saved, submitted

PRINT = "() => dispatchEvent(new Event('beforeprint'))"
PRINTED = "() => dispatchEvent(new Event('afterprint'))"


def test_a_reload_shows_the_same_view(opened: Page) -> None:
    opened.locator("[name=relation]").select_option("same_image")
    opened.locator("[name=confidence-max]").fill("0.996")
    opened.locator("[name=text]").fill("m")
    opened.locator("[data-key=similarity] .sort").click()
    opened.locator("[data-key=similarity] .sort").click()
    opened.locator("#filters .channel").select_option("green")
    row(opened, "a").click()
    until_address(
        opened,
        "#relation=same_image&text=m&confidence-max=0.996&sort=-similarity&channel=green&claim=a",
    )
    opened.reload()
    assert opened.locator("#large-id").inner_text() == "a → ma"
    opened.keyboard.press("Escape")
    assert ids(opened) == ["<i>e</i>", "a", "d"]
    assert opened.locator("[name=text]").input_value() == "m"
    assert opened.locator("#filters .channel").input_value() == "1"
    assert opened.locator("th[data-key=similarity]").get_attribute("aria-sort") == "descending"
    until_address(opened, "channel=green")
    opened.locator("button[type=reset]").click()
    until_address(opened, "#channel=green")


def test_a_changed_address_changes_the_view_and_back_leaves_it_in_one_step(opened: Page) -> None:
    before = opened.evaluate("history.length")
    for value in ("sibling", "same_image", ""):
        opened.locator("[name=relation]").select_option(value)
        until_address(opened, f"#relation={value}" if value else "#")
    assert opened.evaluate("history.length") == before
    opened.evaluate("() => { location.hash = 'relation=sibling&claim=c'; }")
    expect(opened.locator("#large-id")).to_have_text("c → mc")
    opened.go_back()
    expect(opened.locator("#count")).to_have_text("5 of 5")
    assert not opened.locator("#large").is_visible()


def test_an_address_of_another_page_is_ignored_with_a_word(page: Page, tmp_path: Path) -> None:
    path = saved(tmp_path / "report.html", CLAIMS)
    page.goto(f"{path.as_uri()}#relation=cousin&sort=colour&channel=blue&claim=zz")
    expect(page.locator("#count")).to_have_text("5 of 5")
    assert page.locator("th[data-key=relation]").get_attribute("aria-sort") == "ascending"
    assert page.locator("[name=relation]").input_value() == ""
    expect(page.locator("#review .status")).to_have_text("zz is not in this list")


def test_paper_shows_all_rows_that_pass_the_filters(page: Page, tmp_path: Path) -> None:
    claims = [claim(f"i{n:04d}", decision="abstain" if n % 100 else "transfer") for n in range(900)]
    page.goto(saved(tmp_path / "report.html", claims).as_uri())
    before = page.evaluate("document.body.scrollHeight")
    paper = page.locator("#paper tr")
    page.evaluate(PRINT)
    assert paper.count() == 900
    assert page.locator("#printed").text_content() == "All 900 claims of this page."
    page.evaluate(PRINTED)
    page.locator("[name=decision]").select_option("transfer")
    page.locator("#filters .channel").select_option("green")
    page.evaluate(PRINT)
    assert paper.count() == 9
    assert page.locator("#printed").text_content() == (
        "9 of 900 claims: those that pass the filters. The pictures show the channel green."
    )
    page.evaluate(PRINTED)
    assert paper.count() == 0
    page.locator("button[type=reset]").click()
    expect(page.locator("#count")).to_have_text("900 of 900")
    assert page.evaluate("document.body.scrollHeight") == before


def test_very_many_rows_are_printed_in_part_and_the_paper_says_so(
    page: Page, tmp_path: Path
) -> None:
    claims = [claim(f"i{n:04d}") for n in range(1_001)]
    page.goto(saved(tmp_path / "report.html", claims).as_uri())
    page.evaluate(PRINT)
    assert page.locator("#paper tr").count() == 1_000
    assert "The first 1000 are printed" in (page.locator("#printed").text_content() or "")


def test_the_browser_prints_pictures_in_the_colours_of_the_screen(opened: Page) -> None:
    """The query is red and its match is green; the contrast of paper is that of the screen."""
    opened.emulate_media(media="print")
    opened.evaluate(PRINT)
    tiles = opened.locator("#paper tr").first.locator(".tile")
    assert tiles.count() == 2
    colours = [_middle(tile.screenshot()) for tile in tiles.all()]
    (red, _, _), (_, green, _) = colours
    assert red > 150 > 60 > sum(colours[0]) - red
    assert green > 150 > 60 > sum(colours[1]) - green
    assert opened.pdf().startswith(b"%PDF")
    assert opened.locator("#paper tr").count() == 0  # the browser says that it has printed


def _middle(png: bytes) -> list[int]:
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return [int(value) for value in bgr[bgr.shape[0] // 2, bgr.shape[1] // 2][::-1]]


@pytest.mark.parametrize("width_px", [420, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(
    browser: Browser, tmp_path: Path, width_px: int, scheme: Literal["light", "dark"]
) -> None:
    # The checker is a script, which the policy of the page would not let run.
    page = browser.new_page(
        viewport={"width": width_px, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page.goto(submitted(tmp_path / "report.html", CLAIMS).as_uri())
    row(page, "a").focus()
    for key in "arsu":
        page.keyboard.press(key)
    assert Axe().run(page).response["violations"] == []
    page.keyboard.press("Enter")
    page.keyboard.press("a")
    assert Axe().run(page).response["violations"] == []
    page.close()


def test_a_narrow_window_shows_rows_as_cards_that_need_no_sideways_scrolling(
    page: Page, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    claims = [claim(f"i{n:04d}") for n in range(50)]
    page.goto(submitted(tmp_path / "report.html", claims).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    row(page, "i0000").focus()
    for _ in range(49):
        page.keyboard.press("a")
    last = row(page, "i0049")
    assert last.is_visible()
    assert page.evaluate("document.activeElement.claim.id") == "i0049"
    box = last.get_by_role("button", name="Undo").bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= 900 - box["height"]


def test_rows_keep_their_height_when_they_have_verdicts(opened: Page) -> None:
    """The list counts on it, because only rows near the visible ones exist."""
    row(opened, "a").focus()
    for key in "aru":
        opened.keyboard.press(key)
    heights = opened.evaluate(
        "[...document.querySelectorAll('#list tr:not(.spacer)')].map(tr => tr.offsetHeight)"
    )
    assert set(heights) == {112}
