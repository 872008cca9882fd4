"""An atlas explored, as one page: what stands out, then plots with the tables behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.report.html_page import data_uri, save_page, webp_uri

TILE_PX = 176
TILE_QUALITY = 80
ROWS_SHOWN = 400


@dataclass(frozen=True, kw_only=True)
class Finding:
    """lead: a statement without a full stop; told: the figures behind it."""

    lead: str
    told: str


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
    """A picture H x W x 3 in 0..1, its title and a note below it."""

    rgb: NDArray[np.float32]
    title: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    said: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tiles: Sequence[Tile] = ()
    tables: Sequence[ShownTable] = ()


@dataclass(frozen=True, kw_only=True)
class ExplorationPage:
    """counts: what is told in large figures, by name. notes: what was not looked at."""

    title: str
    counts: Mapping[str, str]
    notes: Sequence[str]
    stands_out: Sequence[Finding]
    sections: Sequence[Section]


def save_exploration_page(path: Path, page: ExplorationPage) -> None:
    """HTML with all pictures inside; it needs no other file and no network."""
    save_page(
        path, "exploration_page.html",
        page=page, cell=cell, tile_uri=tile_uri, tile_px=TILE_PX, rows_shown=ROWS_SHOWN,
        plot_uri=lambda plot: data_uri("image/png", plot.path.read_bytes()),
    )  # fmt: skip


def cell(value: object, column: str, decimals: Mapping[str, int]) -> str:
    """As it is to read: whole numbers grouped by threes, real ones with the column's decimals."""
    if isinstance(value, int | np.integer):
        return f"{int(value):,}" if column not in ("label", "a", "b", "value") else str(value)
    if isinstance(value, float | np.floating):
        return "\N{EN DASH}" if np.isnan(value) else f"{value:,.{decimals.get(column, 2)}f}"
    return str(value) or "\N{EN DASH}"


def tile_uri(rgb: NDArray[np.float32]) -> str:
    """Reduced or enlarged to a height of TILE_PX; a pair lies side by side."""
    width = max(1, round(rgb.shape[1] * TILE_PX / rgb.shape[0]))
    how = cv2.INTER_AREA if rgb.shape[0] > TILE_PX else cv2.INTER_CUBIC
    tile = np.clip(cv2.resize(rgb, (width, TILE_PX), interpolation=how), 0, 1)
    return webp_uri(np.rint(tile * 255).astype(np.uint8), quality=TILE_QUALITY)
