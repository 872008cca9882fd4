"""Train the losses of the ArcFace paper's Table 2 side by side."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.console import run
from atlas.core.errors import UserError
from atlas.training.settings import TrainingOptions
from atlas.workflows.settings import ComparisonSettings, FoldSettings
from retrieval.settings import RECIPES, EmbedderOptions


def main(
    recipe: Positional[Literal["card", "winner", "smoke"]] = "card",
    data: Path = Path("data"),
    out: Path = Path("runs/losses"),
    jobs: int = 1,
    runs: OmitArgPrefixes[ComparisonSettings] = ComparisonSettings(),
    folds: OmitArgPrefixes[FoldSettings] = FoldSettings(),
    embedder: OmitArgPrefixes[EmbedderOptions] = EmbedderOptions(),
    training: OmitArgPrefixes[TrainingOptions] = TrainingOptions(),
) -> None:
    """Train the losses of the ArcFace paper's Table 2 from the same start, on the same folds.

    Only the loss differs: rate, epochs and all else are the recipe's and tuned for none. The same
    command goes on where a stopped comparison was; more rows or seeds may be asked for later.

    Args:
        recipe: card follows the model card; winner is the 2018 winner's; smoke is small and quick.
        data: The atlas folder.
        out: The folder to write.
        jobs: Runs side by side, each on one thread; no figure depends on it.
        runs: What is compared.
        folds: Who trains, and who is asked about.
        embedder: What is learned from what; the loss is the rows' matter.
        training: How it is learned.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.evaluate.loss_comparison import compare_losses, table_cells

    if embedder.loss is not None:
        raise UserError("--loss: a comparison takes its losses from --rows; leave --loss")
    settings = embedder.applied_to(RECIPES[recipe])
    settings = replace(settings, training=training.applied_to(settings.training))
    table = compare_losses(data, out, settings, folds, runs, jobs=jobs, tell=print)
    heading, *rows = table_cells(table)
    shown = Table(*heading)
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
    print(f"wrote {out}: losses.csv (every run), table.csv, table.md, losses.png")


if __name__ == "__main__":
    run(main)
