"""The measurements behind a cut, drawn."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from report.pictures import save_figure


def save_calibration_plot(
    path: Path,
    *,
    planted: NDArray[np.float64],
    natural: NDArray[np.float64],
    queries: NDArray[np.float64],
    cut: float,
) -> None:
    """Evidence of planted copies, of nearest distinct pairs and of the queries' best candidates."""
    figure, axes = plt.subplots(2, 1, figsize=(7, 4.2), sharex=True, layout="constrained")
    bins = np.linspace(-0.2, 1.0, 61).tolist()
    axes[0].hist(natural, bins=bins, alpha=0.7, label=f"nearest distinct pairs ({len(natural)})")
    axes[0].hist(planted, bins=bins, alpha=0.7, label=f"planted copies ({len(planted)})")
    axes[1].hist(queries, bins=bins, color="0.4", label=f"test images, best match ({len(queries)})")
    for axis in axes:
        axis.axvline(cut, color="black", linestyle="--", linewidth=1)
        axis.set_yscale("symlog", linthresh=1)
        axis.set_ylabel("images")
        axis.legend(fontsize=8, loc="upper left")
    axes[1].set_xlabel(f"correlation of registered pixels (cut at {cut:.3f})")
    save_figure(path, figure)
