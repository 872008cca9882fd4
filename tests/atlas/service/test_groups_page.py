"""Groups of copies on the page of a review, in a browser."""

import pytest
from playwright.sync_api import Page, expect

from atlas.dataset.verdicts import read_verdicts
from atlas.workflows.review.queue import Queue, read_queue
from atlas.workflows.review.verdicts import Review
from tests.atlas.service.review_pages import Opens, require_accessible, saved
from tests.atlas.workflows.review.made_run import write_run


@pytest.fixture(scope="module")
def made_queue(tmp_path_factory: pytest.TempPathFactory) -> Queue:
    data, run = write_run(tmp_path_factory.mktemp("grouped"), groups=True)
    return read_queue(run, data)


def chosen(review: Review) -> list[tuple[str, str, str]]:
    return [(one.reviewer, one.id, one.choice) for one in read_verdicts(review.path).choices]


def names(page: Page) -> list[str]:
    return page.locator("#cards .name").all_inner_texts()


def copy(page: Page, image_id: str) -> "object":
    return page.locator("#copies li", has=page.get_by_role("button", name=f"Keep {image_id}"))


def test_groups_are_found_filtered_and_ordered(opens: Opens) -> None:
    page = opens()
    page.locator("#kinds button", has_text="Groups (2)").click()
    assert names(page) == ["r01, r02", "r00, r03, r06"]  # copies with other labels first
    page.locator("[name=order]").select_option("large")
    assert names(page) == ["r00, r03, r06", "r01, r02"]
    page.locator("[name=labels]").select_option("differ")
    assert names(page) == ["r01, r02"]
    page.reload()
    page.locator("body[data-ready]").wait_for()
    assert names(page) == ["r01, r02"]
    page.locator("button[type=reset]").click()
    page.locator("[name=text]").fill("r06")
    assert names(page) == ["r00, r03, r06"]


def test_a_group_shows_all_images_and_why_the_policy_keeps_one(opens: Opens) -> None:
    page = opens("?kind=group&order=large")
    page.locator(".open").first.click()
    expect(page.locator("#group-reason")).to_have_text("The policy keeps r00: first of 3 images.")
    assert page.locator("#copies li").count() == 3
    about = copy(page, "r03")
    expect(about).to_contain_text("0 zero")
    expect(about).to_contain_text("128 \N{MULTIPLICATION SIGN} 128 px \N{MIDDLE DOT} train")
    expect(about).to_contain_text("sharpness 0.2")
    expect(copy(page, "r00")).to_contain_text("policy")
    expect(page.locator("[data-pane=query] figcaption")).to_contain_text("Kept by the policy: r00")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # an image that has the focus is shown beside it
    expect(page.locator("[data-pane=query] figcaption")).to_contain_text("Image r03")
    expect(page.locator("[data-pane=match] figcaption")).to_contain_text("r00")


def test_an_image_is_chosen_by_keys_and_the_choice_is_taken_back(
    opens: Opens, review: Review
) -> None:
    page = opens("?kind=group&order=large")
    page.locator(".open").first.click()
    page.keyboard.press("2")
    expect(page.locator("#group-reason")).to_contain_text("r01")  # the next group
    page.keyboard.press("a")
    page.keyboard.press("p")
    expect(page.locator("#standing")).to_have_text("You: r03 stays (saved)")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    saved(page)
    assert chosen(review) == [
        ("Ann", "r03", "kept"), ("Ann", "r01", "kept"), ("Ann", "r06", "kept")
    ]  # fmt: skip
    page.keyboard.press("z")
    saved(page)
    expect(page.locator("#standing")).to_have_text("no verdict yet")
    assert chosen(review)[-1] == ("Ann", "r06", "withdrawn")
    page.keyboard.press("g")
    page.locator("[name=verdict]").select_option("none")
    assert names(page) == ["r00, r03, r06"]
    page.locator("[name=verdict]").select_option("policy")
    assert names(page) == ["r01, r02"]
    page.reload()
    page.locator("body[data-ready]").wait_for()
    expect(page.locator("#cards .said")).to_have_text("r01 stays")


def test_an_image_is_chosen_by_a_click(opens: Opens, review: Review) -> None:
    page = opens("?kind=group")
    page.locator(".open").first.click()
    page.get_by_role("button", name="Keep r02").click()
    saved(page)
    assert chosen(review) == [("Ann", "r02", "kept")]


def test_several_groups_are_decided_at_once(opens: Opens, review: Review) -> None:
    page = opens("?kind=group&order=ids")
    page.locator("#choose-all").check()
    page.locator("#grid-buttons button", has_text="Keep policy's image").click()
    saved(page)
    assert sorted(chosen(review)) == [("Ann", "r00", "kept"), ("Ann", "r01", "kept")]
    page.keyboard.press("z")
    saved(page)
    assert [choice for _, _, choice in chosen(review)[2:]] == ["withdrawn"] * 2


def test_two_images_that_differ_are_parted_and_tied_again(opens: Opens, review: Review) -> None:
    page = opens("?kind=group&order=large")
    page.locator(".open").first.click()
    live = page.locator("[role=status]")
    page.keyboard.press("r")
    expect(live).to_contain_text("Select the two images")
    copy(page, "r00").get_by_label("Compare r00").check()
    page.get_by_role("button", name="Keep r06").focus()
    page.keyboard.press("x")  # two selected images are shown beside each other
    expect(page.locator("[data-pane=query] figcaption")).to_contain_text("policy: r00")
    expect(page.locator("[data-pane=match] figcaption")).to_contain_text("Image r06")
    page.keyboard.press("r")
    parted = page.locator("#apart li")
    expect(parted).to_contain_text("r00 and r06 are different: You")
    saved(page)
    (one,) = read_verdicts(review.path).verdicts
    assert ({one.query_id, one.match_id}, one.verdict) == ({"r00", "r06"}, "different")
    page.reload()
    page.locator("body[data-ready]").wait_for()
    parted.get_by_role("button").click()
    expect(parted).to_have_count(0)
    saved(page)
    assert read_verdicts(review.path).verdicts[-1].verdict == "withdrawn"


def test_reviewers_who_disagree_see_each_other(opens: Opens) -> None:
    ann, bo = (opens("?kind=group&order=large", reviewer=name) for name in ("Ann", "Bo"))
    for page, key in ((ann, "2"), (bo, "3")):
        page.locator(".open").first.click()
        page.keyboard.press(key)
        saved(page)
    ann.keyboard.press("p")
    expect(ann.locator("#standing")).to_have_text("You: r03 stays (saved); Bo: r06 stays")
    expect(copy(ann, "r06")).to_contain_text("stays: Bo")
    ann.keyboard.press("g")
    ann.locator("[name=verdict]").select_option("disputed")
    assert names(ann) == ["r00, r03, r06"]


def test_a_verdict_in_the_moment_of_a_new_name_carries_it(opens: Opens, review: Review) -> None:
    page = opens("?kind=group&order=large")
    page.locator(".open").first.click()
    page.locator("#who").click()
    page.locator("#reviewer-name").fill("Bo")
    page.evaluate(
        """() => { document.querySelector('#reviewer form').requestSubmit();
        const press = new KeyboardEvent('keydown', { key: '2', bubbles: true });
        document.body.dispatchEvent(press); }"""
    )
    saved(page)
    assert chosen(review) == [("Bo", "r03", "kept")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 420, "height": 800}}],
    ids=["wide", "dark", "narrow"],
)
def test_there_are_no_barriers(opens: Opens, how: dict) -> None:
    page = opens("?kind=group&order=large", **how)
    require_accessible(page)
    page.locator(".open").first.click()
    page.locator("#copies input").nth(0).check()
    page.locator("#copies input").nth(1).check()
    page.keyboard.press("r")
    page.keyboard.press("2")
    page.keyboard.press("p")
    expect(page.locator("[data-pane=query] figcaption")).not_to_be_empty()
    expect(page.locator("#apart li")).to_have_count(1)
    require_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("?")
    require_accessible(page)
