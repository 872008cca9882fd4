"""HTML pages that need no other file: templates with embedded pictures, and pages of sections.

A page of sections shows large figures, then sections with plots, pictures and tables. An
exploration and the audit of labels are such pages.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from atlas.core.files import written_beside
from atlas.report.pictures import Rgb, data_uri, to_bytes, webp_uri

TEMPLATES = Path(__file__).with_name("templates")
TILE_PX = 176
TILE_QUALITY = 80
ROWS_SHOWN = 400
NUMBERS_OF_LABELS = ("label", "a", "b", "value")  # columns whose numbers are names, not counts


@dataclass(frozen=True, kw_only=True)
class ShownTable:
    """A table on a page.

    Attributes:
        title: The title.
        file: The name of the file that holds the table.
        table: The table.
        decimals: The number of decimals of columns of real numbers, by default 2.
        folded: Whether a click opens the table.
        matrix: Whether the first column names the rows and the header is vertical.
    """

    title: str
    file: str
    table: pd.DataFrame
    decimals: Mapping[str, int] = field(default_factory=dict)
    folded: bool = True
    matrix: bool = False


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A PNG file and its caption."""

    path: Path
    said: str


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture with a title, a note and further lines.

    Attributes:
        rgb: The picture, H x W x 3 from 0 to 1.
        title: The title.
        note: The note below the title.
        lines: Further lines, such as labels.
        marked: The lines that are shown in red.
        apart: Whether a red line separates the tile from the next ones.
    """

    rgb: Rgb
    title: str
    note: str
    lines: Sequence[str] = ()
    marked: frozenset[str] = frozenset()
    apart: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a page: a heading, sentences, plots, pictures and tables."""

    title: str
    said: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tiles: Sequence[Tile] = ()
    tables: Sequence[ShownTable] = ()


@dataclass(frozen=True, kw_only=True)
class SectionPage:
    """A page of sections.

    Attributes:
        title: The title.
        counts: Large figures by name.
        sections: The sections.
        notes: Notes about what was left out.
        said: Sentences that explain how to read the page.
        tile_px: The height of pictures.
    """

    title: str
    counts: Mapping[str, str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    said: Sequence[str] = ()
    tile_px: int = TILE_PX


def save_section_page(path: Path, page: SectionPage) -> None:
    """Write a page of sections as HTML. It needs no other file and no network."""
    save_page(
        path, "page.html", page=page, cell=cell, tile_uri=tile_uri, rows_shown=ROWS_SHOWN,
        plot_uri=lambda plot: data_uri("image/png", plot.path.read_bytes()),
    )  # fmt: skip


def save_page(path: Path, template: str, *, scripts: Sequence[str] = (), **values: object) -> None:
    """Fill a template of `atlas/report/templates`. Ids and names are escaped.

    The browser runs no other script than the given one, and loads nothing, see `policy_of`.

    Args:
        path: The HTML file.
        template: The template. A CSS file of the same name is its style.
        scripts: The files that make up the script of the page.
        **values: The values of the template.
    """
    pages = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in scripts)
    text = pages.get_template(template).render(
        **values,
        policy=policy_of(script),
        style=Path(template).with_suffix(".css").name,
        script=script,
    )
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")


def policy_of(script: str) -> str:
    """Return the content security policy of a page with this script, or with none if it is "".

    Pictures lie in the page, and nothing may be loaded, sent or run but the script with this hash.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        "style-src 'unsafe-inline'; script-src " + (f"'sha256-{digest}'" if script else "'none'")
    )


def cell(value: object, column: str, decimals: Mapping[str, int]) -> str:
    """Return a value as the text of a cell.

    Whole numbers have separators, and real numbers have the decimals of their column.
    """
    if isinstance(value, int | np.integer):
        return str(value) if column in NUMBERS_OF_LABELS else f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return "\N{EN DASH}" if np.isnan(value) else f"{value:,.{decimals.get(column, 2)}f}"
    return str(value) or "\N{EN DASH}"


def tile_uri(rgb: Rgb, height_px: int = TILE_PX) -> str:
    """Return a picture as an address, resized to a height. A pair of pictures is side by side."""
    width_px = max(1, round(rgb.shape[1] * height_px / rgb.shape[0]))
    how = cv2.INTER_AREA if rgb.shape[0] > height_px else cv2.INTER_CUBIC
    tile = cv2.resize(rgb, (width_px, height_px), interpolation=how)
    return webp_uri(to_bytes(tile), quality=TILE_QUALITY)
