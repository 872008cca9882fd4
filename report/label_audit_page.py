"""The most suspicious labels as a page that needs no other file."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from atlas.files import written_beside

TILE_PX = 128

TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; color: #222; }
section { border-top: 1px solid #ccc; padding: 1em 0; }
h2 { font-size: 1em; margin: 0 0 .3em; }
p { margin: .2em 0 .6em; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; }
figure { margin: 0; width: {{ tile_px }}px; font-size: 12px; overflow-wrap: anywhere; }
figure.own { padding-right: 10px; border-right: 2px solid #c33; }
img { display: block; width: {{ tile_px }}px; height: {{ tile_px }}px; background: #000; }
.note { color: #666; }
.other { color: #c33; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ note }}.</p>
<p>Left of the red line the image with its labels, right of it its nearest neighbours, nearest
first. Red: labels of a neighbour that the image lacks.</p>
{% macro tile(shown, others) %}
<img alt="{{ shown.id }}" src="data:image/png;base64,{{ png(shown.rgb) }}">
<figcaption>{{ shown.id }}<br><span class="note">{{ shown.note }}</span>
{% for label in shown.labels %}<br><span{% if label not in others %} class="other"{% endif %}>
{{- label }}</span>{% endfor %}</figcaption>
{% endmacro %}
{% for case in cases %}
<section>
<h2>{{ loop.index }}. {{ case.image.id }}: labels {{ case.image.labels | join(", ") }};
suggested {{ case.suggested | join(", ") }}</h2>
<p>{{ case.reason }}</p>
<div class="tiles">
<figure class="own">{{ tile(case.image, case.image.labels) }}</figure>
{% for shown in case.neighbours %}<figure>{{ tile(shown, case.image.labels) }}</figure>
{% endfor %}</div>
</section>
{% endfor %}
</body>
</html>
"""


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
    """HTML with its pictures inside. Ids and names are text, whatever they hold."""
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    text = page.from_string(TEMPLATE).render(
        cases=cases, title=title, note=note, tile_px=TILE_PX, png=png_base64
    )
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


def png_base64(rgb: NDArray[np.float32]) -> str:
    """A picture, reduced or enlarged to TILE_PX, as the text of a PNG."""
    how = cv2.INTER_AREA if rgb.shape[0] > TILE_PX else cv2.INTER_NEAREST
    tile = cv2.resize(rgb, (TILE_PX, TILE_PX), interpolation=how)
    bgr = np.rint(tile[:, :, ::-1] * 255).astype(np.uint8)
    return base64.b64encode(cv2.imencode(".png", bgr)[1].tobytes()).decode()
