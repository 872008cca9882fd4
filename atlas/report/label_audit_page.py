"""The most suspicious labels as a page that needs no other file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.report.html_page import png_uri, save_page

TILE_PX = 128


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture H x W x 3 in 0..1, with what is written below it. labels: as they are to read."""

    id: str
    rgb: NDArray[np.float32]
    note: str
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """An image whose labels are doubted, and its neighbours, nearest first."""

    image: Tile
    suggested: tuple[str, ...]
    reason: str
    neighbours: tuple[Tile, ...]


def save_audit_page(path: Path, cases: Sequence[Case], *, title: str, note: str) -> None:
    """HTML with its pictures inside."""
    save_page(
        path, "label_audit_page.html",
        cases=cases, title=title, note=note, tile_px=TILE_PX, tile_uri=tile_uri,
    )  # fmt: skip


def tile_uri(rgb: NDArray[np.float32]) -> str:
    """A picture, reduced or enlarged to TILE_PX."""
    how = cv2.INTER_AREA if rgb.shape[0] > TILE_PX else cv2.INTER_NEAREST
    tile = cv2.resize(rgb, (TILE_PX, TILE_PX), interpolation=how)
    return png_uri(np.rint(tile * 255).astype(np.uint8))
