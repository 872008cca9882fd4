"""Verdicts on the page of a leak run: given, kept by the browser, shown and exported."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from atlas.core.escaping import is_formula
from atlas.dataset.verdicts import Judgement, Verdict, Verdicts, add_verdicts, read_verdicts
from atlas.report.leak_page import Claim, given_verdicts, with_submission
from tests.atlas.report.browsing import ids, row
from tests.atlas.report.planted_claims import CLAIMS, as_claimed, claim, saved

COLUMNS = [
    "query_id", "match_id", "verdict", "reviewer", "time", "token", "query_key", "match_key"
]  # fmt: skip
KEYS = {key: key for one in CLAIMS for key in (one.query_key, one.match_key)}


def opened(page: Page, path: Path, claims: Sequence[Claim] = CLAIMS) -> Page:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size({"width": 1280, "height": 1500})  # all rows exist
    page.goto(saved(path, list(claims)).as_uri())
    return page


@pytest.fixture
def report(page: Page, tmp_path: Path) -> Page:
    return opened(page, tmp_path / "runs" / "leaks" / "report.html")


def stands(page: Page, image_id: str) -> str:
    return row(page, image_id).locator(".stands").inner_text()


def exported(page: Page) -> pd.DataFrame:
    with page.expect_download() as download:
        page.locator("#export").click()
    assert download.value.suggested_filename == "verdicts.csv"
    return pd.read_csv(download.value.path(), dtype=str, keep_default_na=False)


def recorded(by: str, verdict: Judgement, image_id: str = "a", **changes: str) -> Verdict:
    reported = {
        "reviewer": by, "verdict": verdict, "query_id": image_id, "match_id": f"m{image_id}",
        "query_key": f"key of {image_id}", "match_key": f"key of m{image_id}",
    }  # fmt: skip
    return Verdict(**{**reported, **changes})


def with_recorded(page: Page, path: Path, *verdicts: Verdict) -> Page:
    opened(page, path)
    given = given_verdicts(Verdicts(verdicts=verdicts))
    path.write_text(with_submission(path.read_text(), as_claimed(CLAIMS), given, {}))
    page.reload()
    return page


def test_keys_give_verdicts_and_move_to_the_next_claim(report: Page) -> None:
    row(report, "a").focus()
    for key in "arsu":
        report.keyboard.press(key)
    assert [stands(report, i) for i in ids(report)] == [
        "same picture", "different", "siblings", "unsure", ""
    ]  # fmt: skip
    assert report.evaluate("document.activeElement.claim.id") == "c"
    report.keyboard.press("a")  # accepts the claim of a sibling
    assert stands(report, "c") == "siblings"
    assert row(report, "a").locator("[aria-pressed=true]").all_inner_texts() == ["Accept"]
    assert report.locator("#given").inner_text() == "5 of 5 claims have a verdict, 5 not exported"


def test_undo_takes_back_the_last_verdict_and_returns_to_its_claim(report: Page) -> None:
    row(report, "a").focus()
    report.keyboard.press("a")
    report.keyboard.press("r")
    report.keyboard.press("z")
    assert report.evaluate("document.activeElement.claim.id") == "b"
    assert (stands(report, "a"), stands(report, "b")) == ("same picture", "")
    report.keyboard.press("ArrowUp")
    report.keyboard.press("z")  # after a move, the verdict on the claim itself
    assert stands(report, "a") == ""
    assert report.evaluate("document.activeElement.claim.id") == "a"


def test_keys_with_control_and_in_fields_give_no_verdict(report: Page) -> None:
    row(report, "a").focus()
    report.keyboard.press("Control+a")
    report.locator("[name=text]").press_sequentially("mars")
    report.locator("[name=text]").fill("")
    report.locator("#reviewer").press_sequentially("Sara")
    assert report.locator("#given").inner_text().startswith("0 of 5")


def test_buttons_of_rows_stay_and_those_of_the_large_view_move_on(report: Page) -> None:
    row(report, "b").get_by_role("button", name="Reject").click()
    assert stands(report, "b") == "different"
    assert not report.locator("#large").is_visible()
    row(report, "b").get_by_role("button", name="Undo").press("Enter")
    assert stands(report, "b") == ""
    assert not report.locator("#large").is_visible()
    row(report, "a").click()
    large = report.locator("#large")
    large.get_by_role("button", name="Accept").click()
    assert report.locator("#large-id").inner_text() == "b → mb"
    expect(large.locator(".status")).to_have_text("a: same picture")
    report.keyboard.press("r")
    report.keyboard.press("z")
    assert report.locator("#large-id").inner_text() == "b → mb"
    assert large.locator("[aria-pressed=true]").count() == 0
    large.get_by_role("button", name="Close").click()
    assert (stands(report, "a"), stands(report, "b")) == ("same picture", "")


def test_verdicts_survive_a_reload_and_are_shared_by_the_reports_of_a_run_only(
    report: Page, tmp_path: Path
) -> None:
    report.locator("#reviewer").fill("Ann")
    row(report, "a").focus()
    report.keyboard.press("r")
    report.reload()
    assert stands(report, "a") == "different (Ann)"
    assert report.locator("#reviewer").input_value() == "Ann"
    beside = opened(report.context.new_page(), tmp_path / "runs" / "submission" / "report.html")
    assert stands(beside, "a") == "different (Ann)"
    row(beside, "b").focus()
    beside.keyboard.press("a")  # the other open page shows it, too
    expect(row(report, "b").locator(".stands")).to_have_text("same picture (Ann)")
    other = opened(report.context.new_page(), tmp_path / "runs2" / "leaks" / "report.html")
    assert stands(other, "a") == ""
    assert other.locator("#export").is_disabled()


def test_a_verdict_on_a_picture_that_was_replaced_is_not_shown(
    report: Page, tmp_path: Path
) -> None:
    row(report, "a").focus()
    report.keyboard.press("a")
    opened(report, tmp_path / "runs" / "leaks" / "report.html", [claim("a", query_key="new")])
    assert stands(report, "a") == ""
    assert report.locator("#export").is_disabled()


def test_the_export_can_be_added_to_the_verdicts_of_the_run(report: Page, tmp_path: Path) -> None:
    report.locator("#reviewer").fill('Ann, "A." Ünal')
    row(report, "a").focus()
    for key in "arus":
        report.keyboard.press(key)
    report.keyboard.press("z")
    table = exported(report)
    assert list(table.columns) == COLUMNS
    path = tmp_path / "verdicts.db"
    add_verdicts(path, [Verdict(**one) for one in table.to_dict("records")])
    found = read_verdicts(path)
    assert found.judged(KEYS).pairs == {
        (f"key of {i}", f"key of m{i}"): said
        for i, said in {"a": "same", "b": "different", "d": "unsure"}.items()
    }
    assert {one.reviewer for one in found.verdicts} == {'Ann, "A." Ünal'}
    assert {one.query_id for one in found.verdicts} == {"a", "b", "d", "<i>e</i>"}
    assert report.locator("#given").inner_text() == "3 of 5 claims have a verdict, 0 not exported"
    again = [Verdict(**one) for one in exported(report).to_dict("records")]
    assert add_verdicts(path, again) == 0


def test_a_name_that_is_typed_later_stands_on_what_was_not_exported(report: Page) -> None:
    row(report, "a").focus()
    report.keyboard.press("a")
    assert list(exported(report)["reviewer"]) == [""]
    row(report, "b").focus()
    report.keyboard.press("r")
    report.locator("#reviewer").press_sequentially("Bo")
    table = exported(report).set_index("query_id")["reviewer"]
    assert table["a"] == ""
    assert table["b"] == "Bo"
    assert len(table) == 2


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "'=1", "-Ann"])
def test_a_name_that_spreadsheets_would_run_has_an_apostrophe_in_the_file(
    report: Page, name: str
) -> None:
    report.locator("#reviewer").fill(name)
    row(report, "a").focus()
    report.keyboard.press("a")
    (cell,) = exported(report)["reviewer"]
    assert not is_formula(cell)
    assert cell == (name if name == "-Ann" else f"'{name}")


def test_a_sibling_can_be_the_same_picture(report: Page) -> None:
    assert not row(report, "a").get_by_role("button", name="Same").is_visible()
    assert not row(report, "c").get_by_role("button", name="Sibling").is_visible()
    row(report, "c").get_by_role("button", name="Same").click()
    assert stands(report, "c") == "same picture"
    row(report, "d").focus()
    report.keyboard.press("c")
    assert row(report, "d").locator("[aria-pressed=true]").all_inner_texts() == ["Accept"]


def test_formulas_are_those_of_the_project(report: Page) -> None:
    rng = np.random.default_rng(0)
    letters = list("=@+-\t\r\n a1é_./(|!'")
    texts = ["".join(rng.choice(letters, n)) for n in rng.integers(0, 5, 3000)]
    assert report.evaluate("texts => texts.map(isFormula)", texts) == [*map(is_formula, texts)]


def test_verdicts_of_the_run_are_shown_and_filtered(page: Page, tmp_path: Path) -> None:
    report = with_recorded(
        page, tmp_path / "report.html",
        recorded("Ann", "different"), recorded("Ann", "same"), recorded("Bo", "same"),
        recorded("Ann", "same", "b"), recorded("Bo", "different", "b"),
        recorded("Ann", "sibling", "c"), recorded("Ann", "withdrawn", "c"),
        recorded("Ann", "same", "d", query_key="key of md", match_key="key of d"),
    )  # fmt: skip
    assert stands(report, "a") == "same picture (Ann), same picture (Bo)"
    assert stands(report, "b").startswith("reviewers disagree: same picture (Ann), different (Bo)")
    assert stands(report, "c") == ""
    assert stands(report, "d") == "same picture (Ann)"
    for value, found in (("same", "ad"), ("unsure", "b"), ("different", "")):
        report.locator("[name=verdict]").select_option(value)
        assert "".join(ids(report)) == found
    report.locator("[name=verdict]").select_option("none")
    assert ids(report) == ["<i>e</i>", "c"]


@pytest.mark.parametrize(("time", "shown"), [("2000", "different"), ("2999", "same picture")])
def test_the_later_one_of_two_verdicts_of_a_reviewer_counts(
    page: Page, tmp_path: Path, time: str, shown: str
) -> None:
    path = tmp_path / "report.html"
    report = with_recorded(page, path, recorded("", "same", time=f"{time}-01-01T00:00:00+00:00"))
    row(report, "a").focus()
    report.keyboard.press("r")
    assert stands(report, "a") == shown


def test_only_the_reviewer_takes_a_verdict_of_the_run_back(page: Page, tmp_path: Path) -> None:
    report = with_recorded(page, tmp_path / "report.html", recorded("Ann", "same"))
    row(report, "a").focus()
    report.keyboard.press("z")
    assert stands(report, "a") == "same picture (Ann)"
    expect(report.locator("#review .status")).to_contain_text("Ann gave this verdict")
    report.locator("#reviewer").fill("Ann")
    row(report, "a").focus()
    report.keyboard.press("z")
    assert stands(report, "a") == ""
    table = exported(report)
    assert table[["verdict", "reviewer"]].to_numpy().tolist() == [["withdrawn", "Ann"]]


@pytest.mark.parametrize(
    "denied",
    [
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })",
        "Storage.prototype.setItem = () => { throw new Error('full'); }",
    ],
)
def test_without_storage_verdicts_live_until_the_page_is_closed_and_the_page_says_so(
    page: Page, tmp_path: Path, denied: str
) -> None:
    page.add_init_script(denied)
    report = opened(page, tmp_path / "report.html")
    assert "keeps nothing" in report.locator("#unkept").inner_text()
    row(report, "a").focus()
    report.keyboard.press("a")
    assert stands(report, "a") == "same picture"
    assert list(exported(report)["verdict"]) == ["same"]
    report.reload()
    assert stands(report, "a") == ""


def test_a_browser_that_keeps_verdicts_says_nothing(report: Page) -> None:
    assert not report.locator("#unkept").is_visible()
