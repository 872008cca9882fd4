"""Pictures of the claims, and of the measurements behind the thresholds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import SAME_IMAGE, SIBLING, LeakReport
from atlas.dataset.store import ImageStore
from atlas.report.grids import save_grid
from atlas.report.leak_plots import HIGHEST_DRAWN, Curves, save_calibration_plot, save_curves_plot
from atlas.report.pictures import to_rgb
from atlas.workflows.leaks.calibration import LeakCalibration, SameImageMeasurement
from index.copies.guarantee import Trials, precision_bound
from index.siblings.calibration import SiblingCalibration

SHOWN = 12
PAIRS_ACROSS = 2
COPY_PLOT, SIBLING_PLOT = "calibration.png", "sibling_calibration.png"
THRESHOLDS_DRAWN = 401


def save_leak_pictures(
    folder: Path,
    leaks: LeakReport,
    store: ImageStore,
    calibration: LeakCalibration,
    *,
    best: NDArray[np.float32],
) -> None:
    """Draw both calibrations, the most and least certain claims, and suspected copies.

    Args:
        folder: The folder to write to.
        leaks: The claims.
        store: The images.
        calibration: The calibration.
        best: The registration score of each test image's best candidate.
    """
    same_image, sibling = calibration.same_image, calibration.sibling
    save_calibration_plot(
        folder / COPY_PLOT,
        planted=np.array(same_image.calibration.planted),
        natural=same_image.natural,
        queries=best.astype(float),
        curves=_copy_curves(same_image),
        threshold=same_image.calibration.threshold,
    )
    if sibling.threshold is not None:
        save_curves_plot(
            folder / SIBLING_PLOT, curves=sibling_curves(sibling), threshold=sibling.threshold
        )
    for relation, score in ((SAME_IMAGE, "registration_score"), (SIBLING, "sibling_score")):
        claims = leaks.table[leaks.table["relation"] == relation].sort_values(score)
        shown = claims if len(claims) <= SHOWN else pd.concat([claims[:6], claims[-6:]])
        title = f"{relation}: {len(claims)} test images (least certain first)"
        _save_scored(folder / f"{relation}.png", shown, ("Id", "match_id", score), store, title)
    suspected = same_image.suspected
    title = f"suspected copies within the labelled images: {len(suspected)} pairs"
    columns = ("query_id", "match_id", "registration_score")
    _save_scored(folder / "suspected_copies.png", suspected[:SHOWN], columns, store, title)


def _save_scored(
    path: Path, pairs: pd.DataFrame, columns: tuple[str, str, str], store: ImageStore, title: str
) -> None:
    """Save pairs with their scores, if there are any.

    `columns` names the columns of ids, of matches and of scores.
    """
    if len(pairs):
        rows = pairs[list(columns)].itertuples(index=False)
        name = columns[2].replace("_", " ")
        said = [(one, other, f"{name} {score:.3g}") for one, other, score in rows]
        save_pairs(path, said, store, title=title)


def _copy_curves(same_image: SameImageMeasurement) -> Curves:
    calibration = same_image.calibration
    planted = np.array(calibration.planted)
    scores_T = np.linspace(0.0, HIGHEST_DRAWN, THRESHOLDS_DRAWN)
    trials = Trials(known_K=planted, unknown_U=same_image.counted_U)
    return Curves(
        scores_T=scores_T,
        confidence_T=calibration.confidence(scores_T),
        bound_T=precision_bound(trials, scores_T, calibration.copy_share),
        recall_T=(planted[:, None] >= scores_T).mean(axis=0),
    )


def sibling_curves(sibling: SiblingCalibration) -> Curves:
    """Return the curves of the calibration of siblings."""
    return Curves(
        scores_T=np.array(sibling.scores),
        confidence_T=sibling.confidence(np.array(sibling.scores)),
        bound_T=np.array(sibling.bounds),
        recall_T=np.array(sibling.recalls),
    )


def save_pairs(
    path: Path, pairs: Sequence[tuple[str, str, str]], store: ImageStore, *, title: str
) -> None:
    """Save pairs side by side; a pair has a query id, a match id and a caption."""
    tiles = []
    for query_id, match_id, said in pairs:
        for image_id, note in ((query_id, said), (match_id, "match")):
            field = store.read([image_id])[0]
            tiles.append((to_rgb(field, store.channels), f"{image_id[:20]}\n{note}"))
    across = 2 * PAIRS_ACROSS
    rows = [tiles[start : start + across] for start in range(0, len(tiles), across)]
    save_grid(path, rows, title=title)
