"""Train and measure an embedder fold by fold."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.console import run
from atlas.training.settings import TrainingOptions
from atlas.workflows.settings import FoldSettings
from retrieval.settings import RECIPES, EmbedderOptions


def main(
    recipe: Positional[Literal["card", "winner", "smoke"]] = "card",
    data: Path = Path("data"),
    out: Path = Path("runs/cross_validation"),
    folds: OmitArgPrefixes[FoldSettings] = FoldSettings(),
    embedder: OmitArgPrefixes[EmbedderOptions] = EmbedderOptions(),
    training: OmitArgPrefixes[TrainingOptions] = TrainingOptions(),
) -> None:
    """Train and measure an embedder fold by fold, beside the frozen one.

    Each fold's test images look among its training images, for their identity where identities
    are the classes, else for their labels. The same command goes on where a stopped run was.

    Args:
        recipe: card follows the model card; winner is the 2018 winner's; smoke is small and quick.
        data: The atlas folder.
        out: The folder to write, with a run folder for each fold.
        folds: Who trains, and who is asked about.
        embedder: What is learned from what.
        training: How it is learned.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.evaluate.cross_validation import cross_validate, table_cells

    settings = embedder.applied_to(RECIPES[recipe])
    settings = replace(settings, training=training.applied_to(settings.training))
    heading, *rows = table_cells(cross_validate(data, out, settings, folds, tell=print))
    table = Table(*heading)
    for row in rows:
        table.add_row(*row, end_section=row[1] == "std")
    Console().print(table)
    print(f"wrote {out}: folds.csv, summary.json and a run folder for each fold")


if __name__ == "__main__":
    run(main)
