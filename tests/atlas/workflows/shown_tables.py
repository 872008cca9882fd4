"""The tables of a page, read back."""

from html.parser import HTMLParser
from pathlib import Path


class ShownTables(HTMLParser):
    """found: (file, head, rows) of each table, in the order of the page; cells are texts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str], list[list[str]]]] = []
        self._rows: list[list[str]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows = []
            self.found.append((dict(attrs)["data-file"] or "", [], self._rows))
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._in_cell = True
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False
        if tag == "table":
            file, _, rows = self.found[-1]
            self.found[-1] = (file, rows[0], rows[1:])

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self._rows[-1][-1] += data


def shown_tables(page: Path) -> list[tuple[str, list[str], list[list[str]]]]:
    reader = ShownTables()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader.found
