"""Queries beside the wrong image that is nearest to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from report.captions import shortened
from report.pictures import save_figure

PAIRS_ACROSS = 3
TILE_INCHES = 2.0
GAP = 0.12  # between pairs, as a share of a picture's width


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
    down = -(-len(confusions) // PAIRS_ACROSS)
    figure, axes = plt.subplots(
        down,
        3 * PAIRS_ACROSS,
        figsize=(TILE_INCHES * (2 + GAP) * PAIRS_ACROSS, (TILE_INCHES + 0.4) * down + 0.4),
        squeeze=False,
        layout="constrained",
        width_ratios=[1, 1, GAP] * PAIRS_ACROSS,
    )
    figure.suptitle(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    for confusion, (left, right, _) in zip(confusions, axes.reshape(-1, 3), strict=False):
        _draw(left, confusion.query, f"query {confusion.query_id}", confusion.query_class)
        said = f"{confusion.similarity:.3f} {confusion.nearest_id}"
        _draw(right, confusion.nearest, said, confusion.nearest_class)
    save_figure(path, figure)


def _draw(axis: Axes, picture: NDArray[np.float32], said: str, class_name: str) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(f"{shortened(said)}\n{shortened(class_name)}", fontsize=7)
