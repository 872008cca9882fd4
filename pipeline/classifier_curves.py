"""Learning curves of classifiers, drawn into their run folders."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from classify.run_files import CLASS_F1_FILE
from report.learning_curves import save_class_curves, save_curves


def draw_curves(out: Path, runs: Mapping[str, Path]) -> None:
    """curves.png and per_class_f1.png in `out`, of the run folders by name."""
    save_curves(out / "curves.png", {k: pd.read_csv(f / "metrics.csv") for k, f in runs.items()})
    tables = {name: pd.read_csv(folder / CLASS_F1_FILE) for name, folder in runs.items()}
    save_class_curves(out / "per_class_f1.png", tables)
