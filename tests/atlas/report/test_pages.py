"""A page of sections in a browser, and plots of an exploration in extreme cases."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from atlas.report.exploration_plots import (
    save_cooccurrence,
    save_correlation,
    save_label_counts,
    save_labels_per_image,
    save_pixel_values,
)
from atlas.report.pages import (
    TEMPLATES,
    TILE_PX,
    Plot,
    Section,
    SectionPage,
    ShownTable,
    Tile,
    policy_of,
    save_section_page,
    tile_uri,
)
from tests.atlas.report.planted_claims import CLAIMS
from tests.atlas.report.planted_claims import saved as saved_leaks

LONG = "A label of a name that continues & <on> for longer than anybody would like it to"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    plot = tmp_path / "plot.png"
    save_label_counts(plot, {"train": np.array([12885, 0]), "external": np.array([3, 7])},
                      [LONG, "two"])  # fmt: skip
    counts = pd.DataFrame(
        {"label": [1000, 1], "name": [LONG, ""], "images": [12885, 7], "phi": [0.5, np.nan]}
    )
    wide = pd.DataFrame({"label_name": ["0 a"], **{f"{n} a_b": [n] for n in range(60)}})
    page = SectionPage(
        title="Exploration of <drawn>",
        counts={"train images": "12,892"},
        notes=("No images are there.",),
        sections=(
            Section(
                title="First", said=("It is said.",), plots=(Plot(path=plot, said="bars"),),
                tables=(
                    ShownTable(title="Counts", file="counts.csv", table=counts, folded=False,
                               decimals={"phi": 3}),
                    ShownTable(title="Wide", file="wide.csv", table=wide, matrix=True),
                ),
            ),
            Section(title="Second", tiles=(
                Tile(rgb=np.ones((8, 8, 3), np.float32), title="tile", note="<b>note</b>",
                     lines=("0 a", LONG), marked=frozenset({"0 a"}), apart=True),
            )),
        ),
    )  # fmt: skip
    save_section_page(tmp_path / "page.html", page)
    return tmp_path / "page.html"


@pytest.mark.parametrize("width_px", [390, 820, 1600])
def test_the_page_fits_its_window_and_shows_its_pictures(
    page: Page, saved: Path, width_px: int
) -> None:
    page.set_viewport_size({"width": width_px, "height": 900})
    page.goto(saved.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    sizes = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.clientWidth])")
    assert len(sizes) == 2
    assert all(natural > 0 and shown > 0 for natural, shown in sizes)


def test_the_page_shows_its_figures_and_opens_its_tables(page: Page, saved: Path) -> None:
    page.goto(saved.as_uri())
    assert page.locator("h1").inner_text() == "Exploration of <drawn>"
    assert page.locator(".counts dd").all_inner_texts() == ["12,892"]
    counts = page.locator("table[data-file='counts.csv']")
    rows = [row.locator("td").all_inner_texts() for row in counts.locator("tbody tr").all()]
    dash = "\N{EN DASH}"
    assert rows == [["1000", LONG, "12,885", "0.500"], ["1", dash, "7", dash]]
    wide = page.locator("table[data-file='wide.csv']")
    assert not wide.is_visible()
    page.locator("summary", has_text="Wide").click()
    assert wide.is_visible()
    target = page.locator("nav a", has_text="Second").get_attribute("href")
    assert page.locator(f"{target} h2").inner_text() == "Second"
    assert page.locator("figure.apart .marked").all_inner_texts() == ["0 a"]


def test_all_tiles_have_one_height_and_a_pair_has_twice_the_width(page: Page, saved: Path) -> None:
    pair = tile_uri(np.zeros((50, 100, 3), np.float32))
    page.goto(saved.as_uri())
    sizes = page.evaluate(
        """async uri => { const i = document.images[1]; const own = [i.naturalWidth,
           i.naturalHeight]; i.src = uri; await i.decode();
           return [own, [i.naturalWidth, i.naturalHeight]]; }""",
        pair,
    )
    assert sizes == [[TILE_PX, TILE_PX], [2 * TILE_PX, TILE_PX]]


@pytest.mark.parametrize("labels", [1, 2, 33])
def test_plots_accept_one_label_many_labels_and_labels_without_images(
    tmp_path: Path, labels: int
) -> None:
    names = [LONG] * labels
    both_CC = np.zeros((labels, labels), np.int64)
    both_CC[0, 0] = 5
    phi_CC = np.full((labels, labels), np.nan)
    save_cooccurrence(tmp_path / "a.png", both_CC, names)
    save_correlation(tmp_path / "b.png", phi_CC, names)
    save_label_counts(tmp_path / "c.png", {"train": both_CC.diagonal()}, names)
    alone, pairs = (pd.DataFrame({"labels": [n], "percent": [100.0]}) for n in (1, 2))
    save_labels_per_image(tmp_path / "d.png", {"train": alone, "external": pairs})
    counts_CV = np.zeros((2, 256), np.int64)
    counts_CV[:, 255] = 9
    save_pixel_values(tmp_path / "e.png", {"train": counts_CV}, ["dna", "green"])
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in "abcde")


def test_names_are_never_formulas_of_plots(tmp_path: Path) -> None:
    names = [r"$\frac{$", "a$b$c", "\x1b[31m"]
    counts = np.array([3, 2, 1])
    save_label_counts(tmp_path / "a.png", {"train": counts}, names)
    save_correlation(tmp_path / "b.png", np.eye(3), names)
    assert (tmp_path / "b.png").stat().st_size > 0


HOSTILE = (
    "</title></style></script><script>document.body.innerHTML = 1</script>"
    "<img src=x onerror=alert(1)>"
)


def hostile_page(folder: Path) -> Path:
    table = pd.DataFrame({HOSTILE: [HOSTILE]})
    section = Section(
        title=HOSTILE,
        said=(HOSTILE,),
        tiles=(
            Tile(rgb=np.ones((8, 8, 3), np.float32), title=HOSTILE, note=HOSTILE, lines=(HOSTILE,)),
        ),
        tables=(ShownTable(title=HOSTILE, file=HOSTILE, table=table),),
    )
    page = SectionPage(title=HOSTILE, counts={HOSTILE: HOSTILE}, notes=(HOSTILE,),
                       said=(HOSTILE,), sections=(section,))  # fmt: skip
    save_section_page(folder / "hostile.html", page)
    return folder / "hostile.html"


def test_hostile_names_are_text(page: Page, tmp_path: Path) -> None:
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(hostile_page(tmp_path).as_uri())
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.locator("script, img[src=x]").count() == 0


def test_every_template_has_the_common_head_and_no_handlers() -> None:
    pages = [path for path in TEMPLATES.glob("*.html") if path.name != "head.html"]
    assert len(pages) == 3
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert '{% include "head.html" %}' in text
        assert not re.search(r"\son[a-z]+=|javascript:|https?://", text)


@pytest.mark.parametrize("script", ["", "let a = '\u00e9';"])
def test_the_policy_allows_one_script_at_most(script: str) -> None:
    policy = policy_of(script)
    assert policy.startswith(
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:"
    )
    assert ("script-src 'none'" in policy) == (not script)
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_the_policy_stops_other_scripts(browser: Browser, tmp_path: Path) -> None:
    """Check the policy itself: scripts that somebody adds to a finished page do not run."""
    for path in (hostile_page(tmp_path), saved_leaks(tmp_path / "leaks.html", CLAIMS)):
        policy = re.search(
            r'http-equiv="Content-Security-Policy" content="([^"]*)"', path.read_text()
        )
        assert policy
        assert "default-src 'none'" in policy[1]
        added = (
            "<script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\">"
        )
        path.write_text(path.read_text().replace("</body>", f"{added}</body>"))
        view = browser.new_page()
        view.goto(path.as_uri())
        assert view.title() != "ran"
        view.close()
