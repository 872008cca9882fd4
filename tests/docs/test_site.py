"""The documentation site is built as `make docs` builds it, and loads nothing from the network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

pytestmark = pytest.mark.slow
# What a browser loads by itself; links that a reader clicks may lead anywhere.
LOADED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?\b(?:src|href)=\"(https?:)?//[^\"]+\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_complete_and_loads_nothing_from_the_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert {"index.html", "api.html", "cli.html", "kaggle_hpa.html"} <= {p.name for p in pages}
    for page in pages:
        assert [each[0] for each in LOADED.finditer(page.read_text("utf-8"))] == [], page


def test_the_home_page_shows_the_first_part_of_the_readme(site: Path) -> None:
    home = (site / "index.html").read_text("utf-8")
    assert "siblings" in home
    assert 'src="match.png"' in home


def test_the_api_page_shows_signatures_and_arguments_of_the_code(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "api.html").read_text("utf-8"))
    assert "atlas.find_leaks" in page
    assert re.search(r"find_leaks\(\s*data", page)
