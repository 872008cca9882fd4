"""A map of embeddings: a dot for each image, and pictures of some. Axis N: images."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from atlas.report.pictures import save_figure, shortened

CELLS_ACROSS = 15  # a picture in each cell that holds an image: at most 225
CELL_SHARE = 0.88  # of a cell that its picture fills
OTHERS_COLOUR = (0.6, 0.6, 0.6)
# tab20 without its two grays.
NAMED_COLOURS = [matplotlib.colormaps["tab20"](n)[:3] for n in range(20) if n not in (14, 15)]

Colour = tuple[float, float, float]
Cell = tuple[int, int]


def save_embedding_map(
    path: Path,
    points_N2: NDArray[np.float32],
    classes: Sequence[str],
    picture_of: Callable[[int], NDArray[np.float32]],
    *,
    title: str,
) -> None:
    """Dots and frames are coloured by class: the 18 commonest by name, the others gray.

    picture_of: place in N -> H x W x 3 in 0..1; asked for the images that are shown.
    """
    colours = class_colours(classes)
    of_image = [colours.get(name, OTHERS_COLOUR) for name in classes]
    square_N2 = on_unit_square(points_N2)
    figure, axis = plt.subplots(figsize=(13, 10.5), layout="constrained")
    for cell, n in cells_with_images(square_N2).items():
        _draw_picture(axis, cell, picture_of(n), of_image[n])
    axis.scatter(
        square_N2[:, 0],
        square_N2[:, 1],
        s=22,
        c=of_image,
        edgecolors="white",
        linewidths=0.7,
        zorder=3,
    )
    _legend(figure, colours, Counter(classes))
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
    axis.set_axis_off()
    save_figure(path, figure)


def class_colours(classes: Sequence[str]) -> dict[str, Colour]:
    """A colour for each of the commonest classes, commonest first."""
    commonest = sorted(Counter(classes).items(), key=lambda pair: (-pair[1], pair[0]))
    return {name: colour for (name, _), colour in zip(commonest, NAMED_COLOURS, strict=False)}


def on_unit_square(points_N2: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shifted and scaled into 0..1 along both axes, with a margin of half a cell."""
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    margin = 0.5 / CELLS_ACROSS
    share_N2 = (points_N2 - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return np.asarray(margin + share_N2 * (1 - 2 * margin), np.float32)


def cells_with_images(square_N2: NDArray[np.float32]) -> dict[Cell, int]:
    """For each cell of the grid that holds an image, the place of the one nearest its middle."""
    cells_N2 = np.minimum((square_N2 * CELLS_ACROSS).astype(int), CELLS_ACROSS - 1)
    middles_N2 = (cells_N2 + 0.5) / CELLS_ACROSS
    distance_N = np.linalg.norm(square_N2 - middles_N2, axis=1)
    chosen: dict[Cell, int] = {}
    for n in np.argsort(distance_N, kind="stable"):
        chosen.setdefault((int(cells_N2[n, 0]), int(cells_N2[n, 1])), int(n))
    return chosen


def _draw_picture(axis: Axes, cell: Cell, picture: NDArray[np.float32], colour: Colour) -> None:
    left, bottom = ((c + (1 - CELL_SHARE) / 2) / CELLS_ACROSS for c in cell)
    side = CELL_SHARE / CELLS_ACROSS
    extent = (left, left + side, bottom, bottom + side)
    axis.imshow(picture, extent=extent, interpolation="antialiased", zorder=1)
    frame = Rectangle((left, bottom), side, side, fill=False, edgecolor=colour, linewidth=2)
    axis.add_patch(frame).set_zorder(2)


def _legend(figure: Figure, colours: dict[str, Colour], counts: Counter[str]) -> None:
    said = [(f"{shortened(name)} ({counts[name]})", colour) for name, colour in colours.items()]
    others = sum(count for name, count in counts.items() if name not in colours)
    if others:
        said.append((f"other classes ({others})", OTHERS_COLOUR))
    dots = [Line2D([], [], marker="o", linestyle="", color=colour) for _, colour in said]
    labels = [text for text, _ in said]
    figure.legend(dots, labels, loc="outside right upper", fontsize=8, frameon=False)
