"""The page of a row in a browser: it requests no files and violates no policy."""

from pathlib import Path

from playwright.sync_api import Page

from atlas.workflows.explain.explanation import explain
from tests.atlas.workflows.explain.explained import write_run


def test_bars_end_where_probabilities_and_thresholds_are(page: Page, tmp_path: Path) -> None:
    (path,) = explain(["t0"], *write_run(tmp_path), tmp_path / "page.html")
    page.goto(path.as_uri())
    measured = page.evaluate(
        """() => [...document.querySelectorAll('.bar')].map(bar => {
          const side = bar.getBoundingClientRect(), at = x => (x - side.left) / side.width;
          const middle = name => { const r = bar.querySelector(name).getBoundingClientRect();
            return at((r.left + r.right) / 2); };
          const end = at(bar.querySelector('.fill').getBoundingClientRect().right);
          return [end, middle('.threshold')].map(x => Math.round(x * 100)); })"""
    )
    # For labels 1, 2 and 0: the probability and the threshold.
    assert [[round(x / 2) for x in bar] for bar in measured] == [[45, 35], [10, 25], [5, 15]]
    sizes = page.evaluate("() => [...document.images].map(i => i.naturalWidth)")
    assert len(sizes) == 1 + 2 + 4 + 1 + 3  # image, channels, pair, plot, neighbours
    assert all(sizes)


def test_outlines_of_agreeing_blocks_can_be_hidden(page: Page, tmp_path: Path) -> None:
    (path,) = explain(["t0"], *write_run(tmp_path), tmp_path / "page.html")
    page.goto(path.as_uri())
    outlines = page.locator(".pair .outlines")
    assert outlines.count() == 2  # on the image and on its match
    inside = page.evaluate(
        """() => [...document.querySelectorAll('.outlines')].map(outline => {
          const whole = outline.getBoundingClientRect();
          const drawn = outline.querySelector('path').getBoundingClientRect();
          return drawn.width * drawn.height / (whole.width * whole.height); })"""
    )
    assert all(0.5 < share < 1.1 for share in inside)
    assert outlines.first.is_visible()
    page.get_by_label("agreeing blocks").uncheck()
    assert not outlines.first.is_visible()
    assert not outlines.last.is_visible()
