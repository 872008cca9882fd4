"""Transfer with abstention, the classifier alone, and plain copying, on simulated leaks.

The images that a classifier held out are divided at random, again and again. From one half the
expected gain of overrides is learned. In the other half a share of the images gets a match, whose
labels are sometimes those of a random other image.

python benchmarks/transfer_gain.py --data D --classifier R/classifier
"""

from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from rich.console import Console
from rich.table import Table

from atlas.dataset.manifest import read_labels
from atlas.dataset.metrics import label_matrix, macro_f1
from classify.decisions.thresholds import choose_thresholds, predict_labels
from classify.run_files import load_held_out
from index.claims.expected_gain import learn, weigh

CONFIDENCE = 0.99  # the probability that a match is right, which find-leaks guarantees
WAYS = ("ours", "classifier", "copied")


def main(
    data: Path,
    classifier: Path,
    leaked: float = 0.1,
    wrong: tuple[float, ...] = (0.0, 0.1, 0.3),
    redraws: int = 200,
) -> None:
    """Print the macro F1 of the three ways, with mean and central 95% over redraws.

    `leaked` is the share of images that have a match.
    """
    found = load_held_out(classifier)
    labels = read_labels(data)
    truth_NC = label_matrix([labels[i] for i in found.ids], found.probabilities_NC.shape[1])
    table = Table("wrong", "made of", "ours", "classifier", "copied", "ours - better of both",
                  "wrong, estimated")  # fmt: skip
    for share in wrong:
        rows = pd.DataFrame(
            [redraw(found.probabilities_NC.astype(float), truth_NC, leaked, share, seed)
             for seed in range(redraws)]
        )  # fmt: skip
        better = rows[["classifier", "copied"]].mean().idxmax()
        ahead = rows["ours"] - rows[better]  # pair by pair
        table.add_row(
            f"{share:.0%}", f"{rows['made'].mean():.2f}", *(_reported(rows[way]) for way in WAYS),
            _reported(ahead), _reported(rows["estimated"]),
        )  # fmt: skip
    Console(width=160).print(table)


def redraw(
    probabilities_NC: np.ndarray, truth_NC: np.ndarray, leaked: float, wrong: float, seed: int
) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    taught, tested = np.array_split(rng.permutation(len(truth_NC)), 2)
    held_out = (probabilities_NC[taught], truth_NC[taught])
    thresholds_C = choose_thresholds(*held_out).per_class_C
    probabilities, truth = probabilities_NC[tested], truth_NC[tested]
    predicted = predict_labels(probabilities, thresholds_C)
    rows = np.sort(rng.choice(len(tested), round(leaked * len(tested)), replace=False))
    labels = truth[rows].copy()
    is_wrong = rng.random(len(rows)) < wrong
    labels[is_wrong] = truth_NC[rng.integers(len(truth_NC), size=len(rows))][is_wrong]
    found = weigh(
        learn(*held_out, seed=seed), probabilities, predicted, rows, labels,
        np.full(len(rows), CONFIDENCE),
    )  # fmt: skip
    ours, copied = predicted.copy(), predicted.copy()
    copied[rows] = labels
    ours[rows[found.made_R]] = labels[found.made_R]
    return {
        "ours": macro_f1(truth, ours),
        "classifier": macro_f1(truth, predicted),
        "copied": macro_f1(truth, copied),
        "made": float(found.made_R.mean()),
        "estimated": found.wrong_share,
    }


def _reported(values: pd.Series) -> str:
    low, high = values.quantile([0.025, 0.975])
    return f"{values.mean():.4f} ({low:.4f} to {high:.4f})"


if __name__ == "__main__":
    tyro.cli(main)
