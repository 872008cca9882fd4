"""The page of a review in a browser, on a run made by hand."""

import re
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect

from atlas.dataset.verdicts import read_verdicts
from atlas.service.serving import listening, served
from atlas.workflows.review.verdicts import Review
from tests.atlas.service.review_pages import Opens, require_accessible, saved


def shown(page: Page) -> list[str]:
    """Return the queries of the grid in order."""
    return [text[:3] for text in page.locator("#cards .name").all_inner_texts()]


def card(page: Page, query: str) -> "object":
    return page.locator("#cards li", has_text=f"{query} ")


def said(review: Review) -> dict[str, str]:
    """Return the last verdict on each query in the file."""
    return {one.query_id: one.verdict for one in read_verdicts(review.path).verdicts}


def test_claims_are_judged_by_keys_and_everything_is_as_it_was_after_a_reload(
    opens: Opens, review: Review
) -> None:
    page = opens()
    page.locator("[name=relation]").select_option("same_image")
    page.locator("[name=order]").select_option("high")
    assert shown(page) == ["t05", "t04", "t03", "t00", "t01", "t02"]
    card(page, "t04").locator(".open").click()
    title = page.locator("#one-title")
    expect(title).to_have_text("t04 → r04")
    page.keyboard.press("a")
    expect(title).to_have_text("t03 → r03")  # the next one
    page.keyboard.press("r")
    page.keyboard.press("u")
    page.keyboard.press("s")
    expect(title).to_have_text("t02 → r02")
    saved(page)
    assert said(review) == {
        "t04": "same", "t03": "different", "t00": "unsure", "t01": "sibling"
    }  # fmt: skip
    page.keyboard.press("z")
    expect(title).to_have_text("t01 → r01")
    saved(page)
    assert said(review)["t01"] == "withdrawn"
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text("t00 → r00")
    page.reload()
    expect(title).to_have_text("t00 → r00")
    expect(page.locator("#standing")).to_have_text("You: unsure (saved)")
    expect(page.locator("#place")).to_have_text("4 of 6")
    page.keyboard.press("g")
    assert shown(page) == ["t05", "t04", "t03", "t00", "t01", "t02"]
    assert page.locator("[name=relation]").input_value() == "same_image"
    assert page.locator("[name=order]").input_value() == "high"
    expect(card(page, "t03").locator(".said")).to_have_text("different")
    expect(card(page, "t01").locator(".verdict-line")).to_have_text("no verdict yet")
    page.go_back()
    expect(title).to_have_text("t00 → r00")


def test_filters_are_combined_and_stand_in_the_address(opens: Opens) -> None:
    page = opens()
    assert shown(page)[0] == "t07"  # a coin toss
    page.locator("[name=order]").select_option("low")
    page.locator("[name=max]").fill("0.6")
    assert shown(page) == ["t08", "t07", "t06"]
    page.keyboard.press("Tab")
    page.locator("h1").click()
    page.keyboard.press("/")
    page.keyboard.type("r07")
    assert shown(page) == ["t07"]
    expect(page.locator("#count")).to_have_text("1 of 9")
    page.reload()
    page.locator("body[data-ready]").wait_for()
    assert shown(page) == ["t07"]
    assert page.locator("[name=text]").input_value() == "r07"
    page.locator("button[type=reset]").click()
    assert len(shown(page)) == 9


def test_verdicts_can_be_filtered(opens: Opens) -> None:
    page = opens()
    card(page, "t00").locator(".open").focus()
    page.keyboard.press("r")
    saved(page)
    for wanted, found in {"different": ["t00"], "same": [], "disputed": []}.items():
        page.locator("[name=verdict]").select_option(wanted)
        assert shown(page) == found
    page.locator("[name=verdict]").select_option("none")
    assert len(shown(page)) == 8


def test_several_claims_are_judged_at_once_and_taken_back_at_once(
    opens: Opens, review: Review
) -> None:
    page = opens("?relation=same_image&order=high")
    card(page, "t05").locator("input").check()
    card(page, "t03").locator("input").click(modifiers=["Shift"])
    expect(page.locator("#chosen-count")).to_have_text("3 selected")
    page.locator("#grid-buttons button", has_text="Accept").click()
    saved(page)
    assert said(review) == {"t05": "same", "t04": "same", "t03": "same"}
    expect(page.locator("#chosen-count")).to_have_text("")
    page.keyboard.press("z")
    saved(page)
    assert set(said(review).values()) == {"withdrawn"}


def test_the_grid_is_used_by_keys_alone(opens: Opens, review: Review) -> None:
    page = opens("?relation=same_image&order=high")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("a")
    saved(page)
    assert sorted(said(review)) == ["t03", "t04"]
    page.keyboard.press("Enter")
    expect(page.locator("#one-title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(card(page, "t03").locator(".open")).to_be_focused()


def test_accepting_a_sibling_says_sibling(opens: Opens, review: Review) -> None:
    page = opens("?relation=sibling")
    page.locator(".open").first.click()
    page.keyboard.press("a")
    page.keyboard.press("c")
    saved(page)
    assert sorted(said(review).values()) == ["same", "sibling"]


def test_labels_are_accepted_kept_edited_and_taken_back(opens: Opens, review: Review) -> None:
    page = opens("?kind=labels")
    assert shown(page) == ["r00", "r01"]
    page.locator(".open").first.click()
    expect(page.locator("#labels-before")).to_have_text("0 zero")
    expect(page.locator("#labels-after li")).to_have_text(["1 one", "2 <b>two</b>"])
    page.keyboard.press("a")
    expect(page.locator("#one-title")).to_have_text("r01")
    page.keyboard.press("e")
    page.locator("#edit-labels label", has_text="1 one").click()
    page.locator("#edit button", has_text="Save").click()
    page.keyboard.press("r")
    saved(page)
    given = [(one.id, one.labels) for one in read_verdicts(review.path).corrections]
    assert given == [("r00", (1, 2)), ("r01", (0, 1)), ("r01", (1,))]
    expect(page.locator("#standing")).to_have_text("You: labels kept (saved)")
    page.keyboard.press("z")
    saved(page)
    assert read_verdicts(review.path).corrections[-1].labels is None


def test_the_sample_shows_its_certificate_at_every_moment(opens: Opens, review: Review) -> None:
    page = opens("?order=sample:same_image")
    words = page.locator("#certificate-words")
    expect(words).to_have_text(review.certificates()["same_image"].in_words())
    order = [query for query, _ in review.samples["same_image"]]
    assert shown(page) == order
    page.locator("#next-of-sample").click()
    expect(page.locator("#one-title")).to_contain_text(order[0])
    for key in "aar":
        page.keyboard.press(key)
    saved(page)
    found = review.certificates()["same_image"]
    assert (found.looked_at, found.right) == (3, 2)
    expect(words).to_have_text(found.in_words())


def test_two_reviewers_see_what_the_other_says(opens: Opens) -> None:
    ann, bo = opens("?order=high"), opens("?order=high", reviewer="Bo")
    card(ann, "t04").locator(".open").click()
    ann.keyboard.press("a")
    expect(card(bo, "t04")).to_contain_text("Ann: same picture", timeout=10_000)
    card(bo, "t04").locator(".open").click()
    bo.keyboard.press("r")
    ann.keyboard.press("ArrowLeft")
    expect(ann.locator("#standing")).to_have_text(
        "You: same picture (saved); Bo: different", timeout=10_000
    )


def test_the_name_is_asked_once(opens: Opens, review: Review) -> None:
    page = opens(reviewer=None)
    expect(page.locator("#reviewer-name")).to_have_value("Ann")
    page.locator("#reviewer-name").fill("Zoë")
    page.keyboard.press("Enter")
    page.reload()
    page.locator("body[data-ready]").wait_for()
    expect(page.locator("#reviewer")).to_be_hidden()
    page.locator(".open").first.click()
    page.keyboard.press("u")
    saved(page)
    assert [one.reviewer for one in read_verdicts(review.path).verdicts] == ["Zoë"]


def test_a_verdict_is_kept_until_the_server_is_back(
    opens: Opens, app: FastAPI, review: Review
) -> None:
    with listening(0) as listener, served(app, listener):
        port = listener.getsockname()[1]
        page = opens("?order=high", at=f"http://127.0.0.1:{port}/")
        card(page, "t04").locator(".open").click()
        expect(page.locator("[data-pane=match] figcaption")).to_contain_text("r04")
    page.keyboard.press("a")
    expect(page.locator("#problem")).to_contain_text("the server cannot be reached")
    expect(page.locator("#sending")).to_have_text("1 not saved yet")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#standing")).to_have_text("You: same picture (not saved yet)")
    assert said(review) == {}
    with listening(port) as listener, served(app, listener):
        saved(page)
        expect(page.locator("#problem")).to_be_hidden()
        assert said(review) == {"t04": "same"}


def test_a_verdict_that_a_closed_page_could_not_send_is_sent_by_the_next_one(
    opens: Opens, app: FastAPI, review: Review
) -> None:
    with listening(0) as listener, served(app, listener):
        port = listener.getsockname()[1]
        at = f"http://127.0.0.1:{port}/"
        page = opens("?order=high", at=at)
    card(page, "t04").locator(".open").focus()
    page.keyboard.press("a")
    expect(page.locator("#sending")).to_have_text("1 not saved yet")
    context = page.context
    page.close()
    with listening(port) as listener, served(app, listener):
        again = context.new_page()
        again.goto(at)
        saved(again)
        assert said(review) == {"t04": "same"}


def colours(page: Page, pane: str) -> list[float]:
    """Return the mean red, green and blue of a pane."""
    return page.evaluate(
        """(pane) => { const c = document.querySelector(`[data-pane=${pane}] canvas`);
        const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        const sum = [0, 0, 0];
        data.forEach((v, n) => { if (n % 4 < 3) sum[n % 4] += v; });
        return sum.map((v) => v / (c.width * c.height)); }""",
        pane,
    )


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for a condition. Playwright waits by eval, which the policy of the page forbids."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(25)
    raise AssertionError("the condition was never true")


def test_channels_are_toggled_stretched_and_laid_over_each_other(opens: Opens) -> None:
    page = opens("?order=high")
    card(page, "t04").locator(".open").click()
    until(page, lambda: min(colours(page, "query")[:2]) > 20)
    _, green, blue = colours(page, "query")
    assert blue < 5
    page.keyboard.press("o")
    page.keyboard.press("2")  # red alone is gray
    until(page, lambda: colours(page, "query")[2] > 20)
    page.keyboard.press("0")
    until(page, lambda: colours(page, "query")[2] < 5)
    page.locator("[aria-label^='green: count that is black']").fill("60")
    until(page, lambda: colours(page, "query")[1] < green / 2)
    page.locator("#usual-contrast").click()
    until(page, lambda: colours(page, "match")[1] > 0.9 * green)
    # The query is a rotated copy, so the overlay is the match whatever the opacity is.
    match = pytest.approx(colours(page, "match"), abs=2)
    for opacity in ("0", "100"):
        page.locator("#opacity").fill(opacity)
        until(page, lambda: colours(page, "overlay") == match)


def test_zoom_reaches_the_pixels_of_the_file(opens: Opens) -> None:
    page = opens("?order=high")
    card(page, "t04").locator(".open").click()
    expect(page.locator("[data-pane=query] figcaption")).to_contain_text(
        "128 \N{MULTIPLICATION SIGN} 128 pixels"
    )
    page.locator("#native").click()
    expect(page.locator("#zoom")).to_have_text("100%")
    page.keyboard.press("+")
    expect(page.locator("#zoom")).to_have_text("150%")
    page.keyboard.press("f")
    expect(page.locator("#zoom")).not_to_have_text("150%")


def test_blinking_stops_with_the_claim(opens: Opens) -> None:
    page = opens("?order=high")
    card(page, "t04").locator(".open").click()
    expect(page.locator("#overlay-tools")).to_be_visible()
    page.keyboard.press("b")
    expect(page.locator("#blink")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#blink")).to_have_attribute("aria-pressed", "false")


def test_letters_that_are_typed_are_no_verdicts(opens: Opens, review: Review) -> None:
    page = opens()
    page.locator(".open").first.click()
    page.locator("[name=text]").focus()
    page.keyboard.type("arsu")
    page.locator("#help-button").click()
    page.keyboard.press("a")
    page.locator("#keys-on").uncheck()
    page.keyboard.press("Escape")
    page.locator("button[type=reset]").click()
    page.locator(".open").first.focus()
    page.keyboard.press("a")
    page.wait_for_timeout(300)
    assert not review.path.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 420, "height": 800}}],
    ids=["wide", "dark", "narrow"],
)
def test_there_are_no_barriers(opens: Opens, how: dict) -> None:
    views = {"": ".open", "?order=sample:same_image": ".open", "?kind=labels": ".open"}
    for query, to_open in views.items():
        page = opens(query, **how)
        require_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator(to_open).first.click()
        expect(page.locator("[data-pane=query] figcaption")).not_to_be_empty()
        require_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("?")
    require_accessible(page)


def test_what_happens_is_announced(opens: Opens) -> None:
    page = opens("?order=high&relation=same_image")
    live = page.locator("[role=status]")
    page.locator(".open").first.click()
    page.keyboard.press("a")
    expect(live).to_have_text(re.compile("t05: same picture"))
    page.keyboard.press("z")
    expect(live).to_have_text("Withdrawn: t05")
