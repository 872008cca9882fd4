"""Where one query stands among the trials that its claim rests on, drawn for a page."""

import io

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from report.calibration_plot import Curves, draw_curves
from report.html_page import data_uri

FloatArray = NDArray[np.float64]
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
