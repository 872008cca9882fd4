"""Pictures in pairs, so many pairs across."""

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PAIRS_ACROSS = 3
TILE_INCHES = 2.0
GAP = 0.12  # between pairs, as a share of a picture's width


def pair_grid(pairs: int, *, title: str) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure, and the left and right place of each pair; at least one."""
    down = -(-pairs // PAIRS_ACROSS)
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
    return figure, [(left, right) for left, right, _ in axes.reshape(-1, 3)[:pairs]]
