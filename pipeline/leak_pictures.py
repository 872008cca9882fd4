"""Pictures of what was claimed, and of what the cut rests on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.artifacts import LeakReport
from atlas.store import ImageStore
from index.calibration import SameImageCalibration
from report.calibration_plot import save_calibration_plot
from report.pictures import save_grid, to_rgb

SHOWN = 12
PAIRS_ACROSS = 2


def save_leak_pictures(
    folder: Path,
    leaks: LeakReport,
    store: ImageStore,
    *,
    same_image: SameImageCalibration,
    natural: NDArray[np.float64],
    best: NDArray[np.float32],
    suspected: pd.DataFrame,
) -> None:
    """calibration.png; the surest and the least sure claims of each relation; suspected copies."""
    save_calibration_plot(
        folder / "calibration.png",
        planted=np.array(same_image.planted),
        natural=natural,
        queries=best.astype(float),
        cut=same_image.cut,
    )
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
