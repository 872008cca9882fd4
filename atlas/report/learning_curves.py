"""Curves of losses, F1 and top-1 by epoch."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from atlas.report.figures import dress, panels, save_figure, shortened

LOSSES = {"train_loss": "training", "validation_loss": "held out"}
COLOURS = {"train_loss": "tab:blue", "validation_loss": "tab:orange"}
F1_COLUMN, F1_COLOUR = "validation_macro_f1", "tab:green"
PANELS_ACROSS = 7
MOST_CLASSES = 20 * PANELS_ACROSS
TOP1_COLUMN = "validation_top1"
TITLE_LETTERS = 28
Tables = Mapping[str, pd.DataFrame]


def save_curves(path: Path, runs: Tables) -> None:
    """Draw the losses and macro F1 of each epoch.

    The losses are on the left, and macro F1 at the best single threshold of each epoch on the
    right.

    Args:
        path: The PNG file.
        runs: The content of metrics.csv by name. Several runs are thin lines with a thick mean.
    """
    figure, ((left, right),) = panels(1, 2, (9, 3.6))
    for column, name in LOSSES.items():
        _lines(left, runs, column, COLOURS[column], name)
    _lines(right, runs, F1_COLUMN, F1_COLOUR, "held out")
    _style(left, "loss")
    _style(right, "macro F1 at the best single threshold")
    left.set_ylim(bottom=min(0.0, left.get_ylim()[0]))
    right.set_ylim(0, 1)
    for axis in (left, right):
        axis.set_xlabel("epochs done", fontsize=8)
        axis.legend(fontsize=8, frameon=False)
    figure.suptitle(_whose(runs), fontsize=9)
    save_figure(path, figure)


def save_embedder_curves(path: Path, runs: Tables, starts: Mapping[str, float] = {}) -> None:
    """Draw the training loss and top-1 of each epoch, with a line for each training.

    Args:
        path: The PNG file.
        runs: The content of metrics.csv by name.
        starts: Top-1 before the first step, by name. It is drawn at 0 epochs.
    """
    figure, ((left, right),) = panels(1, 2, (9, 3.6))
    for name, table in runs.items():
        epochs, top1 = list(table["epoch"] + 1), list(table[TOP1_COLUMN])
        left.plot(epochs, table["train_loss"], ".-", label=shortened(name))
        if name in starts:
            epochs, top1 = [0, *epochs], [starts[name], *top1]
        right.plot(epochs, top1, ".-", label=shortened(name))
    _style(left, "training loss")
    _style(right, "top-1 of held-out images")
    right.set_ylim(0, 1)
    for axis in (left, right):
        axis.set_xlabel("epochs done", fontsize=8)
    if len(runs) > 1:
        right.legend(fontsize=8, frameon=False)
    save_figure(path, figure)


def save_class_curves(path: Path, runs: Tables) -> None:
    """Draw the F1 of each class on the held-out images, at the best single threshold of each epoch.

    At most MOST_CLASSES classes are drawn, the first ones.

    Args:
        path: The PNG file.
        runs: The content of class_f1.csv by name: `epoch`, `threshold`, and a column for each
            class. The F1 is not a number if no held-out image has the class.
    """
    every = list(dict.fromkeys(c for table in runs.values() for c in table.columns[2:]))
    classes = every[:MOST_CLASSES]
    which = "each class" if classes == every else f"{len(classes)} of {len(every):,} classes"
    across = min(PANELS_ACROSS, len(classes))
    down = -(-len(classes) // across)
    size_inches = (0.4 + 1.7 * across, 0.8 + 1.3 * down)
    figure, axes = panels(down, across, size_inches, sharex=True, sharey=True)
    for axis in axes.flat[len(classes) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, classes, strict=False):
        _lines(axis, runs, name, F1_COLOUR, "")
        _style(axis, shortened(name, TITLE_LETTERS))
        axis.set_ylim(0, 1)
        if not axis.lines:
            axis.text(0.5, 0.5, "none held out", transform=axis.transAxes, ha="center", fontsize=7)
    figure.suptitle(f"F1 of {which} on held-out images, {_whose(runs)}", fontsize=9)
    figure.supxlabel("epochs done", fontsize=8)
    save_figure(path, figure)


def _lines(axis: Axes, runs: Tables, column: str, colour: str, label: str) -> None:
    series = [t.set_index("epoch")[column].dropna() for t in runs.values() if column in t.columns]
    drawn = [one for one in series if len(one)]
    thin = len(drawn) > 1
    for one in drawn:
        width, alpha = (0.7, 0.45) if thin else (1.6, 1.0)
        axis.plot(one.index + 1, one, color=colour, linewidth=width, alpha=alpha,
                  label="" if thin else label)  # fmt: skip
        if len(one) == 1:  # a line of one point is invisible
            axis.plot(one.index + 1, one, ".", color=colour)
    if thin:
        mean = pd.concat(drawn, axis=1).mean(axis=1)
        axis.plot(mean.index + 1, mean, color=colour, linewidth=2, label=label)


def _style(axis: Axes, title: str) -> None:
    dress(axis, grid="both")
    axis.set_title(title, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _whose(runs: Tables) -> str:
    names = list(runs)
    return names[0] if len(names) == 1 else f"{len(names)} folds and their mean (thick)"
