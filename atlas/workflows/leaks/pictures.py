"""Pictures of what was claimed, and of what the cut rests on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import LeakReport
from atlas.dataset.store import ImageStore
from atlas.report.evidence_plots import Curves, save_calibration_plot, save_curves_plot
from atlas.report.pictures import save_grid, to_rgb
from index.copies.calibration import SameImageCalibration, SiblingCalibration
from index.copies.guarantee import Trials, precision_bound

SHOWN = 12
PAIRS_ACROSS = 2
COPY_PLOT, SIBLING_PLOT = "calibration.png", "sibling_calibration.png"
CUTS_DRAWN = 401


def save_leak_pictures(
    folder: Path,
    leaks: LeakReport,
    store: ImageStore,
    *,
    same_image: SameImageCalibration,
    sibling: SiblingCalibration,
    natural: NDArray[np.float64],
    best: NDArray[np.float32],
    suspected: pd.DataFrame,
) -> None:
    """Plots of both calibrations; the surest and the least sure claims of each relation; suspected
    copies."""
    save_calibration_plot(
        folder / COPY_PLOT,
        planted=np.array(same_image.planted),
        natural=natural,
        queries=best.astype(float),
        curves=_copy_curves(same_image, natural),
        cut=same_image.cut,
    )
    if sibling.cut is not None:
        save_curves_plot(folder / SIBLING_PLOT, curves=sibling_curves(sibling), cut=sibling.cut)
    for relation, score in (("same_image", "evidence"), ("sibling", "similarity")):
        claims = leaks.table[leaks.table["relation"] == relation].sort_values(score)
        if claims.empty:
            continue
        shown = claims if len(claims) <= SHOWN else pd.concat([claims[:6], claims[-6:]])
        pairs = [
            (row["Id"], row["match_id"], f"{score} {row[score]:.3f}")
            for row in shown.to_dict("records")
        ]
        title = f"{relation}: {len(claims)} test images (least sure first)"
        save_pairs(folder / f"{relation}.png", pairs, store, title=title)
    if len(suspected):
        pairs = [
            (row["query_id"], row["match_id"], f"evidence {row['evidence']:.3f}")
            for row in suspected[:SHOWN].to_dict("records")
        ]
        title = f"suspected copies within the labelled images: {len(suspected)} pairs"
        save_pairs(folder / "suspected_copies.png", pairs, store, title=title)


def _copy_curves(same_image: SameImageCalibration, natural: NDArray[np.float64]) -> Curves:
    scores_T = np.linspace(-0.2, 1.0, CUTS_DRAWN)
    planted = np.array(same_image.planted)
    trials = Trials(known_K=planted, unknown_U=natural)
    return Curves(
        scores_T=scores_T,
        precision_T=same_image.confidence(scores_T),
        bound_T=precision_bound(trials, scores_T, same_image.copy_share),
        recall_T=(planted[:, None] >= scores_T).mean(axis=0),
    )


def sibling_curves(sibling: SiblingCalibration) -> Curves:
    return Curves(
        scores_T=np.array(sibling.scores),
        precision_T=np.array(sibling.precisions),
        bound_T=np.array(sibling.bounds),
        recall_T=np.array(sibling.recalls),
    )


def save_pairs(
    path: Path, pairs: Sequence[tuple[str, str, str]], store: ImageStore, *, title: str
) -> None:
    """Pairs side by side: (query id, match id, what is said of them)."""
    tiles = []
    for query_id, match_id, said in pairs:
        for image_id, note in ((query_id, said), (match_id, "match")):
            field = store.read([image_id])[0]
            tiles.append((to_rgb(field, store.channels), f"{image_id[:20]}\n{note}"))
    across = 2 * PAIRS_ACROSS
    rows = [tiles[start : start + across] for start in range(0, len(tiles), across)]
    save_grid(path, rows, title=title)
