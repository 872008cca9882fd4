"""The measurements behind a cut, drawn. Axes: T cuts."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atlas.report.html_page import data_uri
from atlas.report.pictures import save_figure

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Of claims from each score on, shares 0..1. precision_T: estimated; bound_T: what holds with
    95 %; recall_T: of the true cases that were tried."""

    scores_T: FloatArray
    precision_T: FloatArray
    bound_T: FloatArray
    recall_T: FloatArray


def save_calibration_plot(
    path: Path,
    *,
    planted: FloatArray,
    natural: FloatArray,
    queries: FloatArray,
    curves: Curves,
    cut: float,
) -> None:
    """Evidence of planted copies, of nearest distinct pairs and of the queries' best candidates;
    and what follows for each cut."""
    figure, axes = plt.subplots(3, 1, figsize=(7, 6.3), sharex=True, layout="constrained")
    bins = np.linspace(-0.2, 1.0, 61).tolist()
    axes[0].hist(natural, bins=bins, alpha=0.7, label=f"nearest distinct pairs ({len(natural)})")
    axes[0].hist(planted, bins=bins, alpha=0.7, label=f"planted copies ({len(planted)})")
    axes[1].hist(queries, bins=bins, color="0.4", label=f"test images, best match ({len(queries)})")
    for axis in axes[:2]:
        axis.set_yscale("symlog", linthresh=1)
        axis.set_ylabel("images")
        axis.legend(fontsize=8, loc="upper left")
    draw_curves(axes[2], curves)
    for axis in axes:
        axis.axvline(cut, color="black", linestyle="--", linewidth=1)
    axes[2].set_xlabel(f"correlation of registered pixels (cut at {cut:.3f})")
    save_figure(path, figure)


def save_curves_plot(path: Path, *, curves: Curves, cut: float) -> None:
    """What follows for each cut of a similarity."""
    figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
    draw_curves(axis, curves)
    axis.axvline(cut, color="black", linestyle="--", linewidth=1)
    axis.set_xlabel(f"similarity (cut at {cut:.3f})")
    save_figure(path, figure)


def draw_curves(axis: Axes, curves: Curves) -> None:
    """Precision, its bound and recall of claims from each score on."""
    axis.plot(curves.scores_T, curves.precision_T, label="precision, estimated")
    axis.plot(curves.scores_T, curves.bound_T, label="precision that holds with 95 %")
    axis.plot(curves.scores_T, curves.recall_T, label="recall", color="0.5")
    axis.set_ylim(-0.03, 1.03)
    axis.set_ylabel("claims from here on")
    axis.legend(fontsize=8, loc="center left")


# Where one query stands among the trials that its claim rests on, drawn for a page.


OWN_COLOUR = "#b3261e"
SIZE_INCHES = (5.6, 2.3)


def evidence_plot(
    *, planted: FloatArray, natural: FloatArray, cut: float, own: float | None
) -> str:
    """A PNG as data URI: planted copies, strangers, the cut, and this image's best candidate."""
    figure, axis = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
    bins = np.linspace(-0.2, 1.0, 61).tolist()
    axis.hist(natural, bins=bins, alpha=0.7, label=f"nearest distinct pairs ({len(natural)})")
    axis.hist(planted, bins=bins, alpha=0.7, label=f"planted copies ({len(planted)})")
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylabel("images")
    axis.set_xlabel(f"correlation of registered pixels (cut at {cut:.3f})")
    _mark(axis, cut, own)
    return _uri(figure)


def similarity_plot(*, curves: Curves, cut: float, own: float | None) -> str:
    """A PNG as data URI: what follows for each cut of the similarity, and this image's own."""
    figure, axis = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
    draw_curves(axis, curves)
    axis.set_xlabel(f"similarity (cut at {cut:.3f})")
    _mark(axis, cut, own)
    return _uri(figure)


def _mark(axis: Axes, cut: float, own: float | None) -> None:
    axis.axvline(cut, color="black", linestyle="--", linewidth=1)
    if own is not None:
        axis.axvline(own, color=OWN_COLOUR, linewidth=2, label=f"this image ({own:.3f})")
    axis.legend(fontsize=7, loc="best")
    axis.tick_params(labelsize=8)


def _uri(figure: Figure) -> str:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return data_uri("image/png", png.getvalue())
