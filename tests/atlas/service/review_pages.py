"""The page of a review, opened in a browser."""

from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

SERIOUS = ("serious", "critical")
expect.set_options(timeout=30_000)  # other tests may run on the same cores

Opens = Callable[..., Page]


def saved(page: Page) -> None:
    expect(page.locator("#sending")).to_have_text("All verdicts saved")


def require_accessible(page: Page) -> None:
    page.wait_for_timeout(250)  # until chips have appeared
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"]) for one in found if one["impact"] in SERIOUS] == []
