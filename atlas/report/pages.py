"""Pages that need no other file: templates with pictures inside, and a page of sections.

A page of sections shows figures, then plots, pictures and tables below headings; an exploration and
the audit of labels are such pages.
"""

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
NUMBERS_OF_LABELS = ("label", "a", "b", "value")  # columns whose numbers are names


@dataclass(frozen=True, kw_only=True)
class ShownTable:
    """A table as it stands in `file`. decimals: of its columns of real numbers; 2, unless given.

    folded: opened by a click. matrix: its first column names the rows, its head stands upright.
    """

    title: str
    file: str
    table: pd.DataFrame
    decimals: Mapping[str, int] = field(default_factory=dict)
    folded: bool = True
    matrix: bool = False


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A PNG file, and what is said of it."""

    path: Path
    said: str


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture H x W x 3 in 0..1, its title and a note below it.

    lines: further lines, such as labels; marked: those of them in red. apart: a red line parts the
    tile from the following ones.
    """

    rgb: Rgb
    title: str
    note: str
    lines: Sequence[str] = ()
    marked: frozenset[str] = frozenset()
    apart: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    said: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tiles: Sequence[Tile] = ()
    tables: Sequence[ShownTable] = ()


@dataclass(frozen=True, kw_only=True)
class SectionPage:
    """counts: large figures by name. notes: what was not looked at. said: how to read the page.

    tile_px: height of the pictures.
    """

    title: str
    counts: Mapping[str, str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    said: Sequence[str] = ()
    tile_px: int = TILE_PX


def save_section_page(path: Path, page: SectionPage) -> None:
    """HTML with all pictures inside; it needs no other file and no network."""
    save_page(
        path, "page.html", page=page, cell=cell, tile_uri=tile_uri, rows_shown=ROWS_SHOWN,
        plot_uri=lambda plot: data_uri("image/png", plot.path.read_bytes()),
    )  # fmt: skip


def save_page(path: Path, template: str, **values: object) -> None:
    """Fill a template of `atlas/report/templates`. Ids and names are text, whatever they hold."""
    pages = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    text = pages.get_template(template).render(values)
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


def cell(value: object, column: str, decimals: Mapping[str, int]) -> str:
    """As it is to read: whole numbers grouped by threes, real ones with the column's decimals."""
    if isinstance(value, int | np.integer):
        return str(value) if column in NUMBERS_OF_LABELS else f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return "\N{EN DASH}" if np.isnan(value) else f"{value:,.{decimals.get(column, 2)}f}"
    return str(value) or "\N{EN DASH}"


def tile_uri(rgb: Rgb, height_px: int = TILE_PX) -> str:
    """Reduced or enlarged to a height; a pair lies side by side."""
    width_px = max(1, round(rgb.shape[1] * height_px / rgb.shape[0]))
    how = cv2.INTER_AREA if rgb.shape[0] > height_px else cv2.INTER_CUBIC
    tile = cv2.resize(rgb, (width_px, height_px), interpolation=how)
    return webp_uri(to_bytes(tile), quality=TILE_QUALITY)
