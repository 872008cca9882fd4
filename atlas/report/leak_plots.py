"""Plots of leaks: the measurements behind a threshold, and the agreement of leak tables.

Axes: T thresholds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from atlas.report.figures import dress, panels, png_of, save_figure, shortened
from atlas.report.pictures import data_uri

OWN_COLOUR = "#b3261e"
PAGE_INCHES = (5.6, 2.3)
NAME_LETTERS = 24  # the length of the name of a leak table
HIGHEST_DRAWN = 40.0  # registration scores above it are drawn there
BINS = np.linspace(0.0, HIGHEST_DRAWN, 81).tolist()

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Properties of claims by their score, as shares from 0 to 1.

    Attributes:
        scores_T: The scores.
        confidence_T: The confidence of a claim with just this score.
        bound_T: The lower bound of the precision, at 95% confidence, of claims from this score on.
        recall_T: The recall of the true pairs in the calibration set by these claims.
    """

    scores_T: FloatArray
    confidence_T: FloatArray
    bound_T: FloatArray
    recall_T: FloatArray


def save_calibration_plot(
    path: Path,
    *,
    planted: FloatArray,
    natural: FloatArray,
    queries: FloatArray,
    curves: Curves,
    threshold: float,
) -> None:
    """Draw the registration scores of the calibration set and of the queries, and the curves.

    Args:
        path: The PNG file.
        planted: The scores of planted copies.
        natural: The scores of the nearest non-matches.
        queries: The scores of the best candidate of each query.
        curves: The properties of each threshold.
        threshold: The threshold in use.
    """
    figure, axes = panels(3, 1, (7, 6.3), sharex=True)
    pairs, found, claims = axes[:, 0]
    _draw_pairs_of_calibration(pairs, planted, natural)
    found.hist(
        np.clip(queries, 0, HIGHEST_DRAWN),
        bins=BINS,
        color="0.4",
        label=f"test images, best match ({len(queries)})",
    )
    _count_axis(found)
    for axis in (pairs, found):
        axis.legend(fontsize=8, loc="upper left")
    _draw_curves(claims, curves)
    for axis in (pairs, found, claims):
        axis.axvline(threshold, color="black", linestyle="--", linewidth=1)
    claims.set_xlabel(_score_axis(threshold))
    save_figure(path, figure)


def save_curves_plot(path: Path, *, curves: Curves, threshold: float) -> None:
    """Draw the properties of each threshold of the sibling score."""
    figure, axis = _curves_figure((7, 2.6), curves, threshold)
    axis.axvline(threshold, color="black", linestyle="--", linewidth=1)
    save_figure(path, figure)


def score_plot(
    *, planted: FloatArray, natural: FloatArray, threshold: float, own: float | None
) -> str:
    """Return a plot of the calibration set, the threshold and the score of this image.

    It is the address of a PNG for a page.
    """
    figure, ((axis,),) = panels(1, 1, PAGE_INCHES)
    _draw_pairs_of_calibration(axis, planted, natural)
    axis.set_xlabel(_score_axis(threshold))
    return _marked(figure, axis, threshold, own)


def sibling_plot(*, curves: Curves, threshold: float, own: float | None) -> str:
    """Return a plot of the properties of each threshold and the sibling score of this image.

    It is the address of a PNG for a page.
    """
    figure, axis = _curves_figure(PAGE_INCHES, curves, threshold)
    return _marked(figure, axis, threshold, own)


def _curves_figure(
    size_inches: tuple[float, float], curves: Curves, threshold: float
) -> tuple[Figure, Axes]:
    figure, ((axis,),) = panels(1, 1, size_inches)
    _draw_curves(axis, curves)
    axis.set_xlabel(f"sibling score (threshold at {threshold:.2f})")
    return figure, axis


def _score_axis(threshold: float) -> str:
    return f"registration score, at most {HIGHEST_DRAWN:.0f} (threshold at {threshold:.1f})"


def _count_axis(axis: Axes) -> None:
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_ylabel("images")


def _draw_pairs_of_calibration(axis: Axes, planted: FloatArray, natural: FloatArray) -> None:
    axis.hist(
        np.clip(natural, 0, HIGHEST_DRAWN),
        bins=BINS,
        alpha=0.7,
        label=f"nearest non-matches ({len(natural)})",
    )
    axis.hist(
        np.clip(planted, 0, HIGHEST_DRAWN),
        bins=BINS,
        alpha=0.7,
        label=f"planted copies ({len(planted)})",
    )
    _count_axis(axis)


def _draw_curves(axis: Axes, curves: Curves) -> None:
    """Draw the confidence at each score, and the bound and the recall of claims from it on."""
    axis.plot(curves.scores_T, curves.confidence_T, label="confidence at this score")
    axis.plot(curves.scores_T, curves.bound_T, label="precision from it on, lower bound at 95%")
    axis.plot(curves.scores_T, curves.recall_T, label="recall from it on", color="0.5")
    axis.set_ylim(-0.03, 1.03)
    axis.set_ylabel("share of claims")
    axis.legend(fontsize=8, loc="center left")


def _marked(figure: Figure, axis: Axes, threshold: float, own: float | None) -> str:
    axis.axvline(threshold, color="black", linestyle="--", linewidth=1)
    if own is not None:
        axis.axvline(
            min(own, HIGHEST_DRAWN), color=OWN_COLOUR, linewidth=2, label=f"this image ({own:.3g})"
        )
    axis.legend(fontsize=7, loc="best")
    axis.tick_params(labelsize=8)
    return data_uri("image/png", png_of(figure))


def save_agreement_plot(path: Path, agreement: pd.DataFrame, trust: pd.DataFrame) -> None:
    """Draw a map of the pairs of tables, and the agreement of each table with the others.

    Args:
        path: The PNG file.
        agreement: The columns table, other, shared and equal, with a row for each pair.
        trust: The columns table, share, low and high, with a row for each table. A table that no
            other table judges has no share and an interval from 0 to 1.
    """
    count = len(trust)
    size_inches = (4.5 + 1.7 * count, 1.4 + 0.75 * count)
    figure, ((left, right),) = panels(1, 2, size_inches, sharey=True, width_ratios=[count, 2])
    _draw_pairs(left, agreement, list(trust["table"]))
    _draw_trust(right, trust)
    short = [shortened(name, NAME_LETTERS) for name in trust["table"]]
    left.set_xticks(range(count), short, rotation=20, ha="right")
    left.set_yticks(range(count), short)
    left.tick_params(labelsize=8)
    save_figure(path, figure)


def _draw_pairs(axis: Axes, agreement: pd.DataFrame, names: list[str]) -> None:
    """Draw the map of pairs. A pair without shared ids, and a table with itself, stay white."""
    share_TT = np.full((len(names), len(names)), np.nan)
    for pair in agreement.to_dict("records"):
        equal, shared = pair["equal"], pair["shared"]
        a, b = names.index(pair["table"]), names.index(pair["other"])
        share_TT[a, b] = share_TT[b, a] = equal / shared if shared else np.nan
        for x, y in ((a, b), (b, a)):
            ink = "white" if share_TT[a, b] < 0.5 else "black"
            axis.text(x, y, f"{equal} of\n{shared}", ha="center", va="center", fontsize=8,
                      color=ink)  # fmt: skip
    axis.imshow(share_TT, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axis.set_title("shared ids with equal labels", fontsize=9)


def _draw_trust(axis: Axes, trust: pd.DataFrame) -> None:
    places = np.arange(len(trust))
    axis.hlines(places, trust["low"], trust["high"], color="0.35", linewidth=2)
    axis.scatter(trust["share"], places, s=36, color="tab:blue", zorder=3)
    axis.set_xlim(-0.02, 1.02)
    dress(axis, title="agrees with the others (95%)")
