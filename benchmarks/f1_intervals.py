"""Coverage and width of intervals of macro F1, where the true value is known.

Images come in groups with equal labels, with the label frequencies of HPA 2018. A classifier has a
recall and a precision for each label, so the F1 of all images that there could ever be is known. A
label that no image of a test set has counts 0 there, as in the challenge. From each drawn test set
follow two intervals: the bootstrap of the project, which draws groups with replacement and leaves
labels out of the mean that a resample lacks, and the Bayesian bootstrap, which weights all groups.

python -m benchmarks.f1_intervals
"""

from collections.abc import Callable

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from atlas.dataset.metrics import bootstrap_macro_f1, exact_interval, macro_f1
from atlas.synthetic.drawn_plan import LABEL_IMAGES

TRAIN_IMAGES = 31_072
RESAMPLES, RARE = 400, 0.02
Labels = NDArray[np.uint8]


def main(
    sizes: tuple[int, ...] = (1000, 3000, 11_700),
    draws: int = 300,
    rarest: int = 11,
    group: int = 1,
    recall_of_rare: float = 1.0,
) -> None:
    """Print how often each interval holds the true macro F1, its width, and its middle.

    Args:
        sizes: Numbers of test images.
        draws: Number of test sets of each size.
        rarest: Labels of fewer train images are as frequent as if they had so many.
        group: Number of images of a group.
        recall_of_rare: Factor of the recall of labels below 2%, which many classifiers miss.
    """
    shown = Table("images", "interval", "coverage", "95%", "mean width", "middle - point, mean")
    for size in sizes:
        found = {name: [] for name in WAYS}  # type: dict[str, list[tuple[float, ...]]]
        for seed in range(draws):
            truth, predicted, groups, value = drawn(
                size, rarest, group, recall_of_rare, np.random.default_rng(seed)
            )
            point = macro_f1(truth, predicted)
            for name, interval in WAYS.items():
                low, high = interval(truth, predicted, groups, seed)
                found[name].append((low <= value <= high, high - low, (low + high) / 2 - point))
        for name, rows in found.items():
            held, width, shift = np.array(rows, float).T
            bounds = exact_interval(int(held.sum()), draws)
            shown.add_row(
                f"{size:,}", name, f"{held.mean():.3f}", f"{bounds[0]:.3f} to {bounds[1]:.3f}",
                f"{width.mean():.4f}", f"{shift.mean():+.4f}",
            )  # fmt: skip
    Console().print(shown)


def drawn(
    size: int, rarest: int, group: int, recall_of_rare: float, rng: np.random.Generator
) -> tuple[Labels, Labels, list[str], float]:
    """Return true and predicted labels of a test set, its groups, and the true macro F1."""
    frequency_C = np.maximum(LABEL_IMAGES, rarest) / TRAIN_IMAGES
    quality = np.random.default_rng(0)  # the classifier is the same for all test sets
    recall_C, precision_C = quality.uniform(0.3, 0.9, (2, len(frequency_C)))
    recall_C = np.where(frequency_C < RARE, recall_of_rare, 1) * recall_C
    false_C = frequency_C * recall_C * (1 - precision_C) / precision_C / (1 - frequency_C)
    groups_N = np.repeat(np.arange(size // group), group)
    labels_GC = rng.random((size // group, len(frequency_C))) < frequency_C
    truth = labels_GC[groups_N]
    predicted = rng.random(truth.shape) < np.where(truth, recall_C, np.minimum(false_C, 1))
    predicted_C = frequency_C * recall_C + (1 - frequency_C) * np.minimum(false_C, 1)
    value = np.mean(truth.any(axis=0) * 2 * frequency_C * recall_C / (frequency_C + predicted_C))
    names = [str(group) for group in groups_N]
    return truth.astype(np.uint8), predicted.astype(np.uint8), names, float(value)


def drawn_groups(
    truth: Labels, predicted: Labels, groups: list[str], seed: int
) -> tuple[float, float]:
    return bootstrap_macro_f1(truth, predicted, groups_N=groups, resamples=RESAMPLES, seed=seed)


def weighted_groups(
    truth: Labels, predicted: Labels, groups: list[str], seed: int
) -> tuple[float, float]:
    """Give each group an exponential weight (Rubin 1981)."""
    group_N = np.unique(groups, return_inverse=True)[1]
    counts = [
        np.stack([np.bincount(group_N, part[:, c]) for c in range(truth.shape[1])], axis=1)
        for part in (truth & predicted, truth, predicted)
    ]
    weight_RG = np.random.default_rng(seed).exponential(size=(RESAMPLES, len(counts[0])))
    hits_RC, true_RC, predicted_RC = (weight_RG @ count for count in counts)
    all_RC = true_RC + predicted_RC
    f1_RC = np.divide(2 * hits_RC, all_RC, out=np.zeros(hits_RC.shape), where=all_RC > 0)
    low, high = np.quantile(f1_RC.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


WAYS: dict[str, Callable[[Labels, Labels, list[str], int], tuple[float, float]]] = {
    "bootstrap": drawn_groups,
    "Bayesian": weighted_groups,
}

if __name__ == "__main__":
    tyro.cli(main)
