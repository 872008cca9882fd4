"""How often claims with a confidence are right: reliability diagrams, before and after a change.

A table of claims has the columns `way` (before or after), `confidence`, `right` (0 or 1) and
`weight`. `siblings` makes one from two searches for leaks, `copies` the part after the change from
the scores of new atlases, and `transfer_gain.py compare --claims` one of transferred labels. `draw`
draws them side by side, and prints the expected calibration error of claims from 0.5 on.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from rich.console import Console
from rich.table import Table

from atlas.dataset.artifacts import NOVEL, SIBLING, load_leaks, load_table
from atlas.dataset.truth import read_truth
from atlas.report.figures import panels, save_figure
from benchmarks.new_atlases import calibration_error, confidences, load, reliability

LEAST = 0.5  # claims with less confidence are never transferred
COLOURS = {"before": "#b3261e", "after": "#1a5fb4"}


def siblings(data: Path, before: Path, after: Path, share: float, out: Path) -> None:
    """Write the table of the claims of siblings of two searches on one atlas.

    The searches should claim as much as they can: `find-leaks --sibling-precision 0.01`.

    Args:
        data: The atlas, whose truth is known.
        before, after: The two folders of leaks.
        share: The share of siblings that both searches were given; claims are weighted so that it
            is the true one.
        out: The table to write.
    """
    truth = read_truth(data)
    assert truth is not None
    identity_of = load_table(data / "train.csv").set_index("Id")["Identity"]
    shown = truth[truth["relation"].isin([SIBLING, NOVEL])].set_index("Id")
    is_sibling = shown["relation"].eq(SIBLING)
    weights = np.where(is_sibling, share / is_sibling.sum(), (1 - share) / (~is_sibling).sum())
    weight_of = pd.Series(weights, index=shown.index)
    tables = []
    for way, folder in (("before", before), ("after", after)):
        claims = load_leaks(folder / "leaks.csv").table
        claims = claims[claims["relation"].eq(SIBLING) & claims["Id"].isin(shown.index)]
        source = claims["Id"].map(shown["source"])
        right = claims["match_id"].map(identity_of).eq(source) & claims["Id"].map(is_sibling)
        tables.append(
            pd.DataFrame(
                {
                    "way": way,
                    "confidence": claims["confidence"].astype(float),
                    "right": right.astype(int),
                    "weight": claims["Id"].map(weight_of),
                }
            )
        )
    pd.concat(tables).to_csv(out, index=False)


def copies(scores: Path, share: float, out: Path) -> None:
    """Write the table of the best candidates of all test images of new atlases.

    Args:
        scores: The folder that `new_atlases.py measure` wrote.
        share: The share of copies that is stated; claims are weighted so that it is the true one.
        out: The table to write.
    """
    folders = sorted(path.parent for path in scores.glob("*/tests.csv"))
    table = pd.concat([confidences(load(folder), share) for folder in folders])
    table.insert(0, "way", "after")
    table.astype({"right": int}).to_csv(out, index=False)


def draw(claims: tuple[str, ...], out: Path) -> None:
    """Draw the diagrams side by side, and print the expected calibration errors.

    Args:
        claims: The tables, each as TITLE=FILE.
        out: The picture to write.
    """
    figure, (axes,) = panels(1, len(claims), (3.4 * len(claims), 3.2))
    printed = Table("claims of", "way", "number", "from 0.5 on", "mean confidence", "right", "ECE")
    for axis, named in zip(axes, claims, strict=True):
        title, file = named.split("=", 1)
        table = pd.read_csv(file)
        axis.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle=":")
        for way, colour in COLOURS.items():
            own = table[table["way"] == way]
            # No bin mixes claims that may be transferred with others.
            unsure = own[own["confidence"] < LEAST]
            points = pd.concat([reliability(unsure, lowest=0.0), reliability(own)])
            axis.plot(points["confidence"], points["right"], "o-", color=colour, label=way)
            sure = own[own["confidence"] >= LEAST]
            mean, right = (
                np.average(sure[name], weights=sure["weight"]) if len(sure) else np.nan
                for name in ("confidence", "right")
            )
            error = calibration_error(reliability(own))
            printed.add_row(title, way, f"{len(own):,}", f"{len(sure):,}", f"{mean:.3f}",
                            f"{right:.3f}", f"{error:.3f}")  # fmt: skip
        axis.set(title=title, xlabel="confidence", ylabel="right", xlim=(0, 1), ylim=(0, 1.02))
        axis.legend(frameon=False)
    save_figure(out, figure)
    Console(width=120).print(printed)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"siblings": siblings, "copies": copies, "draw": draw})
