from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from atlas.report.leak_plots import save_agreement_plot


def picture(path: Path, equal: int, trust: float, tables: int = 2) -> np.ndarray:
    """Draw tables that agree on some of 10 ids, and return R x C x blue, green, red, as int."""
    names = [f"table {n}" for n in range(tables)]
    pairs = pd.DataFrame([(names[0], names[1], 10, equal)],
                         columns=["table", "other", "shared", "equal"])  # fmt: skip
    shown = pd.DataFrame({"table": names}).assign(share=trust, low=max(trust - 0.1, 0), high=trust)
    save_agreement_plot(path, pairs, shown)
    return cv2.imread(str(path)).astype(int)


def yellow(image: np.ndarray) -> int:
    return int(((image[:, :, 2] > 200) & (image[:, :, 0] < 80)).sum())


def dots_at(image: np.ndarray) -> float:
    """Return the mean column of the blue dots, which are in the right half."""
    right = image[:, image.shape[1] // 2 :]
    return float(np.nonzero((right[:, :, 0] - right[:, :, 2] > 100).any(axis=0))[0].mean())


def test_tables_that_agree_are_bright(tmp_path: Path) -> None:
    assert yellow(picture(tmp_path / "same.png", 10, 0.5)) > 5000
    assert yellow(picture(tmp_path / "differ.png", 0, 0.5)) < 500


def test_a_dot_is_at_the_share(tmp_path: Path) -> None:
    places = [dots_at(picture(tmp_path / "dots.png", 0, share)) for share in (0.2, 0.6, 1.0)]
    assert np.isclose(places[1] - places[0], places[2] - places[1], atol=3)
    assert places[0] < places[1]


def test_more_tables_give_a_larger_picture_and_pairs_without_ids_are_white(tmp_path: Path) -> None:
    small, large = (picture(tmp_path / "a.png", 10, 0.5, tables=n) for n in (2, 5))
    assert large.shape > small.shape
    empty = pd.DataFrame(columns=["table", "other", "shared", "equal"])
    lone = pd.DataFrame({"table": ["lone"], "share": [np.nan], "low": [0.0], "high": [1.0]})
    save_agreement_plot(tmp_path / "lone.png", empty, lone)
    assert yellow(cv2.imread(str(tmp_path / "lone.png")).astype(int)) == 0
