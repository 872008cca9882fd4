"""What tests of the page of a leak run do in a browser."""

from playwright.sync_api import Locator, Page


def column(page: Page, name: str) -> list[str]:
    return page.locator(f"#list tr:not(.spacer) .{name}").all_inner_texts()


def ids(page: Page) -> list[str]:
    return column(page, "id")


def row(page: Page, image_id: str) -> Locator:
    return page.locator("#list tr", has_text=f"why {image_id}")


def until(page: Page, condition: str, argument: str = "") -> None:
    """Wait for a condition. Playwright waits by eval, which the policy of the page forbids."""
    for _ in range(200):
        if page.evaluate(condition, argument):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"the condition was never true: {condition}")


def until_address(page: Page, part: str) -> None:
    """Wait until the address of the page ends like this."""
    until(page, "part => (location.hash || '#').endsWith(part)", part)
