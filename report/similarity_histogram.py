"""How alike images of the same class are, and of different ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from report.pictures import save_figure

BINS = 80
SAME_COLOUR, DIFFERENT_COLOUR = "tab:blue", "tab:orange"


@dataclass(frozen=True, kw_only=True)
class SimilarityPanel:
    """Cosines of pairs, and the threshold that parts them best."""

    title: str
    same: NDArray[np.float32]
    different: NDArray[np.float32]
    threshold: float


def save_similarity_histogram(path: Path, panels: Sequence[SimilarityPanel]) -> None:
    """One panel below the other, on one scale of cosines. Each kind's area is 1."""
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7, 0.8 + 2.1 * len(panels)),
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    everything = np.concatenate([cosines for p in panels for cosines in (p.same, p.different)])
    bins = np.linspace(float(everything.min()), float(everything.max()) + 1e-6, BINS + 1).tolist()
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _draw(axis, panel, bins)
    axes[-1, 0].set_xlabel("cosine of two embeddings")
    save_figure(path, figure)


def _draw(axis: Axes, panel: SimilarityPanel, bins: list[float]) -> None:
    kinds = (
        ("different classes", panel.different, DIFFERENT_COLOUR),
        ("same class", panel.same, SAME_COLOUR),
    )
    for name, cosines, colour in kinds:
        label = f"{name} ({len(cosines):,} pairs)"
        axis.hist(
            cosines, bins=bins, density=True, histtype="stepfilled",
            alpha=0.6, color=colour, label=label,
        )  # fmt: skip
    said = f"threshold {panel.threshold:.3f}"
    axis.axvline(panel.threshold, color="black", linestyle="--", linewidth=1, label=said)
    axis.set_title(panel.title, fontsize=9)
    axis.set_ylabel("density")
    axis.set_yticks([])
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
