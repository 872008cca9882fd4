"""A grid of pictures with captions, as a PNG.

Pillow draws it, because loading matplotlib takes longer than a lookup.

Axes: H rows, W columns of pixels.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from atlas.core.escaping import escaped
from atlas.core.files import written_beside
from atlas.report.pictures import Rgb, to_bytes

TILE_PX, GAP_PX = 240, 12
TITLE_PX, CAPTION_PX = 17, 13  # sizes of letters
LINE = 1.3  # height of a line in sizes of its letters


def save_grid(path: Path, rows: Sequence[Sequence[tuple[Rgb, str]]], *, title: str = "") -> None:
    """Save rows of (picture H x W x 3, caption). Rows may differ in length.

    Pictures are enlarged or reduced to one width, and pixels stay visible as squares. Captions may
    have several lines.
    """
    tiles = [[(_tile(rgb), escaped(caption, keep="\n")) for rgb, caption in row] for row in rows]
    captions = [max(_height(caption, CAPTION_PX) for _, caption in row) for row in tiles]
    heights = [
        caption + max(tile.height for tile, _ in row) + GAP_PX
        for row, caption in zip(tiles, captions, strict=True)
    ]
    top = GAP_PX + (_height(title, TITLE_PX) + GAP_PX if title else 0)
    width = max(len(row) for row in tiles) * (TILE_PX + GAP_PX) + GAP_PX
    grid = Image.new("RGB", (width, top + sum(heights)), "white")
    draw = ImageDraw.Draw(grid)
    draw.text((width / 2, GAP_PX), escaped(title), "black", _font(TITLE_PX), anchor="ma")
    for row, above, height in zip(tiles, captions, heights, strict=True):
        for n, (tile, caption) in enumerate(row):
            left = GAP_PX + n * (TILE_PX + GAP_PX)
            for line, text in enumerate(caption.split("\n")):
                place = (left + TILE_PX / 2, top + line * LINE * CAPTION_PX)
                draw.text(place, text, "black", _font(CAPTION_PX), anchor="ma")
            grid.paste(tile, (left, top + above))
        top += height
    with written_beside(path) as beside:
        grid.save(beside, format="PNG")


def _tile(rgb: Rgb) -> Image.Image:
    tile = Image.fromarray(to_bytes(rgb))
    height = max(1, round(TILE_PX * tile.height / tile.width))
    return tile.resize((TILE_PX, height), Image.Resampling.NEAREST)


def _height(text: str, letters_px: int) -> int:
    return round((text.count("\n") + 1) * LINE * letters_px)


@cache
def _font(letters_px: int) -> ImageFont.FreeTypeFont:
    """Return the font of figures, which has letters of many languages."""
    spec = find_spec("matplotlib")  # without loading it
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    font = Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(font), letters_px)
