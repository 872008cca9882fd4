"""The page of a leak run in a browser, with planted claims."""

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from atlas.report.leak_page import (
    MOST_CLAIMS,
    PAGE_BYTES,
    ClaimCount,
    sheet_uri,
    tile_side_px,
    with_submission,
)
from tests.atlas.report.browsing import ids, until
from tests.atlas.report.planted_claims import CLAIMS, as_claimed, claim, saved, submitted

UNKNOWN = "\N{EN DASH}"


def pixel(page: Page, canvas: str, x: float, y: float) -> list[int]:
    """Return red, green and blue at shares of the width and height of a drawn picture."""
    until(
        page,
        "q => document.querySelector(q).getContext('2d').getImageData(1, 1, 1, 1).data[3] > 0",
        canvas,
    )
    return page.evaluate(
        """([q, x, y]) => { const c = document.querySelector(q); return [...c.getContext('2d')
           .getImageData(x * c.width, y * c.height, 1, 1).data].slice(0, 3); }""",
        [canvas, x, y],
    )


def test_only_the_page_of_a_submission_has_a_column_of_labels_before(
    page: Page, tmp_path: Path
) -> None:
    page.goto(saved(tmp_path / "report.html", CLAIMS).as_uri())
    before, after = page.locator("th.labels.before"), page.locator("#after")
    assert not before.is_visible()
    assert after.inner_text() == "Labels"
    assert "atlas make-submission" in page.locator("#of-leaks").inner_text()
    assert page.locator("#list tr", has_text="why a").locator(".added").count() == 0
    submitted(tmp_path / "report.html", CLAIMS)
    page.reload()
    assert before.is_visible()
    assert after.inner_text() == "Labels after"
    assert not page.locator("#of-leaks").is_visible()


def test_the_page_of_a_submission_shows_what_was_submitted(page: Page, tmp_path: Path) -> None:
    path = saved(tmp_path / "report.html", CLAIMS)
    made = as_claimed(CLAIMS)
    made["a"] = replace(made["a"], decision="abstain", reason="why not a", confidence=1.0)
    made["b"] = replace(made["b"], match_id="", decision="", reason="none", confidence=math.nan)
    counts = {"same_image": ClaimCount(claims=7, transfers=5)}
    path.write_text(with_submission(path.read_text(), made, {}, counts))
    page.set_viewport_size({"width": 1280, "height": 1500})
    page.goto(path.as_uri())
    weighed = page.locator("#list tr", has_text="why not a")
    assert weighed.locator(".decision").inner_text() == "abstain"
    assert weighed.locator("td.number").last.inner_text() == "1.000"
    rejected = page.locator("#list tr", has_text="mb")
    assert rejected.locator(".decision").inner_text() == "abstain"
    assert "not claimed" in rejected.locator(".reason").inner_text()
    # The counts are those of the claims that the submission was made from.
    assert page.locator(".counts dd").all_inner_texts() == ["50", "7", "5", "2"]
    numbers = page.locator(".relations tbody tr").first.locator("[data-count]")
    assert numbers.all_inner_texts() == ["7", "5", "2"]
    none = page.locator(".relations tbody tr").last.locator("[data-count]")
    assert none.all_inner_texts() == ["0", "0", "0"]


def test_a_run_without_labels_has_no_column_of_labels(page: Page, tmp_path: Path) -> None:
    page.goto(saved(tmp_path / "report.html", [claim("a", labels=())]).as_uri())
    assert ids(page) == ["a"]
    assert not page.locator("th.labels").first.is_visible()
    assert not page.locator("th.labels").last.is_visible()


def test_the_summary_shows_counts_thresholds_and_their_basis(opened: Page) -> None:
    assert opened.locator("h1").inner_text() == "Known images of <drawn>"
    counts = dict(
        zip(
            opened.locator(".counts dt").all_inner_texts(),
            opened.locator(".counts dd").all_inner_texts(),
            strict=True,
        )
    )
    assert counts == {
        "test images": "50", "claims": "5", "labels transferred": "4", "not transferred": "1"
    }  # fmt: skip
    rows = opened.locator(".relations tbody tr").all_inner_texts()
    assert [" ".join(row.split()) for row in rows] == [
        "same_image 4 3 1 6.3 same_image rests on this",
        "sibling 1 1 0 none sibling rests on this",
    ]
    assert opened.evaluate("document.querySelector('.plots img').naturalWidth") == 4


def test_a_row_shows_everything_about_a_claim(opened: Page) -> None:
    row = opened.locator("#list tr", has_text="why a")
    assert row.locator(".match").inner_text() == "→ ma"
    assert row.locator("td.number").all_inner_texts() == ["0.910", "8.0", "0.991"]
    assert row.locator(".chip").all_inner_texts() == ["same_image", "transfer"]
    assert row.locator(".before li").all_inner_texts() == ["0 Nucleoplasm", "1 Golgi apparatus"]
    assert row.locator(".before .dropped").all_inner_texts() == ["0 Nucleoplasm"]
    assert row.locator(".after li").all_inner_texts() == ["1 Golgi apparatus"]
    assert row.locator(".after .added").count() == 0
    sibling = opened.locator("#list tr", has_text="why c")
    assert sibling.locator("td.number").nth(1).inner_text() == UNKNOWN
    assert sibling.locator(".after .added").all_inner_texts() == ["2 Cytosol</script><b>"]
    abstained = opened.locator("#list tr", has_text="why d")
    assert abstained.locator(".after li").all_inner_texts() == [
        "not transferred:", "1 Golgi apparatus"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("score", "rising"),
    [
        ("similarity", "d b c a <i>e</i>"),
        ("registration_score", "a d b <i>e</i> c"),
        ("confidence", "c a <i>e</i> d b"),
        ("relation", "a b d <i>e</i> c"),
    ],
)
def test_every_score_sorts_both_ways_with_unknown_values_last(
    opened: Page, score: str, rising: str
) -> None:
    head = opened.locator(f"th[data-key={score}]")
    order = rising.split()
    if score != "relation":  # copies come first at first
        head.locator(".sort").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert ids(opened) == order
    head.locator(".sort").click()
    assert head.get_attribute("aria-sort") == "descending"
    falling = order[:4] if score == "relation" else [i for i in reversed(order) if i != "c"]
    assert [i for i in ids(opened) if i != "c"] == falling
    assert ids(opened)[-1] == {"registration_score": "c", "relation": falling[-1]}.get(
        score, order[0]
    )


def test_filters_can_be_combined_and_reset(opened: Page) -> None:
    count = opened.locator("#count")
    opened.locator("[name=relation]").select_option("same_image")
    assert sorted(ids(opened)) == ["<i>e</i>", "a", "b", "d"]
    opened.locator("[name=decision]").select_option("transfer")
    assert sorted(ids(opened)) == ["<i>e</i>", "a", "b"]
    opened.locator("[name=similarity-min]").fill("0.91")
    assert sorted(ids(opened)) == ["<i>e</i>", "a"]
    opened.locator("[name=similarity-max]").fill("0.95")
    assert ids(opened) == ["a"]
    assert count.inner_text() == "1 of 5"
    opened.locator("[name=text]").fill("nobody")
    assert ids(opened) == []
    assert opened.locator("#nothing").is_visible()
    opened.locator("button[type=reset]").click()
    expect(count).to_have_text("5 of 5")
    assert len(ids(opened)) == 5


@pytest.mark.parametrize(
    ("text", "found"),
    [("MB", "b"), ("golgi", "a b c d"), ("2 cytosol", "c <i>e</i>"), ("<i>", "<i>e</i>")],
)
def test_the_search_finds_ids_and_labels(opened: Page, text: str, found: str) -> None:
    opened.locator("[name=text]").fill(text)
    assert sorted(ids(opened)) == sorted(found.split())


def test_an_unknown_score_is_in_no_range(opened: Page) -> None:
    opened.locator("[name=registration_score-min]").fill("-1")
    assert "c" not in ids(opened)
    assert len(ids(opened)) == 4


def test_pictures_show_all_channels_in_colour_or_one_in_gray(opened: Page) -> None:
    query, match = (f"#list tr:nth-child(2) td:nth-child({n}) canvas" for n in (1, 2))
    red, green, blue = pixel(opened, query, 0.6, 0.6)
    assert red > 150 > 60 > green + blue
    red, green, blue = pixel(opened, match, 0.6, 0.6)
    assert green > 150 > 60 > red + blue
    opened.locator("#filters .channel").select_option("green")
    until(
        opened,
        """q => { const [r, g, b] = document.querySelector(q).getContext('2d')
           .getImageData(60, 60, 1, 1).data; return r > 150 && r === g && g === b; }""",
        match,
    )
    assert max(pixel(opened, query, 0.6, 0.6)) < 60


def test_the_keyboard_moves_between_rows_and_opens_the_large_view(opened: Page) -> None:
    opened.locator("[data-key=confidence] .sort").click()
    opened.locator("#list tr", has_text="why c").focus()
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Enter")
    title = opened.locator("#large-id")
    assert title.inner_text() == "a → ma"
    assert opened.locator("#large .reason").inner_text() == "why a"
    assert opened.locator("#large .registration_score").inner_text() == "8.0"
    opened.keyboard.press("ArrowRight")
    assert title.inner_text() == "<i>e</i> → m<i>e</i>"
    opened.keyboard.press("Escape")
    assert not opened.locator("#large").is_visible()
    until(opened, "() => document.activeElement.claim?.id === '<i>e</i>'")
    opened.keyboard.press("/")
    opened.keyboard.type("why")  # reasons are not searched
    assert ids(opened) == []


def test_the_large_view_registers_the_query_on_the_match(opened: Page) -> None:
    """The white corner of the query moves by the rotation from the upper to the lower left."""
    opened.locator("#list tr", has_text="why a").click()
    query, laid = (f"#large figure:nth-child({n}) canvas" for n in (1, 2))
    assert min(pixel(opened, query, 0.05, 0.05)[:2]) > 150
    assert pixel(opened, query, 0.05, 0.95)[1] < 60
    assert pixel(opened, laid, 0.05, 0.05)[1] < 60
    assert min(pixel(opened, laid, 0.05, 0.95)[:2]) > 150


def corner_of(page: Page, figure: int) -> list[float]:
    """Return where the outlines on a picture begin and end, as shares of its side."""
    return page.evaluate(
        """n => { const f = document.querySelectorAll('#large figure')[n];
          const whole = f.querySelector('canvas').getBoundingClientRect();
          const drawn = f.querySelector('.outlines path').getBoundingClientRect();
          return [drawn.left - whole.left, drawn.top - whole.top, drawn.right - whole.left,
                  drawn.bottom - whole.top].map(x => x / whole.width); }""",
        figure,
    )


def test_agreeing_blocks_are_outlined_on_both_pictures_until_they_are_hidden(opened: Page) -> None:
    opened.locator("#list tr", has_text="why a").click()
    expect(opened.locator("#large figure:nth-child(3) path")).to_have_attribute(
        "d", re.compile("M")
    )
    # The grid covers 0.25 to 0.75 across and 0 to 0.5 down in the match.
    assert corner_of(opened, 2) == pytest.approx([0.25, 0.0, 0.75, 0.5], abs=0.01)
    # (x, y) -> (1 - y, x): 0.5 to 1 across and 0.25 to 0.75 down in the query.
    assert corner_of(opened, 0) == pytest.approx([0.5, 0.25, 1.0, 0.75], abs=0.01)
    assert opened.locator("#large .geometry").inner_text() == "how a was made"
    outlines = opened.locator("#large .outlines")
    assert outlines.first.is_visible()
    opened.locator("#outlined").uncheck()
    assert [outlines.nth(n).is_visible() for n in range(2)] == [False, False]
    opened.keyboard.press("Escape")
    assert len(ids(opened)) == len(CLAIMS)


def test_a_sibling_has_no_outlines(opened: Page) -> None:
    opened.locator("#list tr", has_text="why a").click()
    opened.locator("[data-key=confidence] .sort").dispatch_event("click")
    opened.locator("#previous").click()
    assert opened.locator("#large-id").inner_text() == "c → mc"
    expect(opened.locator("#large figure:nth-child(3) path")).to_have_attribute("d", "")
    assert not opened.locator("#with-outlines").is_visible()
    assert opened.locator("#large .geometry").inner_text() == ""


@pytest.mark.parametrize("width_px", [420, 1280])
def test_the_large_view_fits_in_the_window(page: Page, tmp_path: Path, width_px: int) -> None:
    page.set_viewport_size({"width": width_px, "height": 900})
    page.goto(saved(tmp_path / "report.html", CLAIMS).as_uri())
    page.locator("#list tr", has_text="why a").focus()
    page.keyboard.press("Enter")
    shown = page.evaluate(
        """() => { const d = document.getElementById('large');
           return [d.scrollWidth, d.clientWidth]; }"""
    )
    assert shown[0] <= shown[1] <= width_px


def test_ten_thousand_claims_scroll_to_the_last_and_stay_small(page: Page, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    px = tile_side_px(MOST_CLAIMS, 4)
    fields = [
        np.stack([cv2.GaussianBlur(p, (0, 0), 2) for p in rng.integers(0, 256, (4, 96, 96))
                  .astype(np.uint8)]) for _ in range(11)
    ]  # fmt: skip
    sheets = [sheet_uri(a, b, px) for a, b in pairwise(fields)]
    claims = [
        claim(f"i{n:04d}", confidence=n / MOST_CLAIMS, sheet=sheets[n % len(sheets)])
        for n in range(MOST_CLAIMS)
    ]
    path = saved(tmp_path / "report.html", claims, tile_px=px)
    assert path.stat().st_size < 1.1 * PAGE_BYTES
    page.goto(path.as_uri())
    assert ids(page)[0] == "i0000"
    assert len(ids(page)) < 30
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.locator("#list tr", has_text="why i9999")
    last.wait_for()
    assert last.get_attribute("aria-rowindex") == "10001"
    assert len(ids(page)) < 30
    pixel(page, "#list tr:nth-last-child(2) td:nth-child(2) canvas", 0.5, 0.5)
    page.locator("#list tr", has_text="why i9998").focus()
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.claim.id") == "i0000"
    assert page.locator("#list tr", has_text="why i0000").is_visible()


def test_claims_that_the_page_does_not_list_are_counted(tmp_path: Path) -> None:
    page = saved(tmp_path / "report.html", CLAIMS, left_out=90_000).read_text()
    assert f"This page lists the {len(CLAIMS)} least certain claims. 90,000 other claims" in page
    assert "other claims" not in saved(tmp_path / "report.html", CLAIMS).read_text()
