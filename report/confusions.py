"""Queries beside the wrong image that is nearest to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from report.captions import shortened
from report.pair_grid import pair_grid
from report.pictures import save_figure


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Pictures H x W x 3 in 0..1; ids and classes as they should be read."""

    query: NDArray[np.float32]
    query_id: str
    query_class: str
    nearest: NDArray[np.float32]
    nearest_id: str
    nearest_class: str
    similarity: float


def save_confusions(path: Path, confusions: Sequence[Confusion], *, title: str) -> None:
    """At least one; each query with its nearest to the right of it, in the order given."""
    figure, places = pair_grid(len(confusions), title=title)
    for confusion, (left, right) in zip(confusions, places, strict=True):
        _draw(left, confusion.query, f"query {confusion.query_id}", confusion.query_class)
        said = f"{confusion.similarity:.3f} {confusion.nearest_id}"
        _draw(right, confusion.nearest, said, confusion.nearest_class)
    save_figure(path, figure)


def _draw(axis: Axes, picture: NDArray[np.float32], said: str, class_name: str) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(f"{shortened(said)}\n{shortened(class_name)}", fontsize=7)
