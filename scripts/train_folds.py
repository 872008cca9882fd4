"""Train a classifier for each fold of the labelled images."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.console import run
from atlas.training.settings import TrainingOptions
from atlas.workflows.settings import ClassifierFolds
from classify.recipes import RECIPES, Recipe
from classify.settings import ClassifierOptions, PredictionSettings


def main(
    recipe: Positional[Recipe] = "densenet121",
    data: Path = Path("data"),
    out: Path = Path("runs/folds"),
    only: str | None = None,
    folds: OmitArgPrefixes[ClassifierFolds] = ClassifierFolds(),
    prediction: OmitArgPrefixes[PredictionSettings] = PredictionSettings(),
    classifier: OmitArgPrefixes[ClassifierOptions] = ClassifierOptions(),
    training: OmitArgPrefixes[TrainingOptions] = TrainingOptions(),
) -> None:
    """Train a classifier for each fold of the labelled images, and predict with all of them.

    Every labelled image is predicted by the fold that did not learn it, the test images by the
    mean of the folds. The same command goes on where a stopped run was and skips what is done.

    Args:
        recipe: As for train_classifier.py.
        data: The atlas folder.
        out: The folder to write, with a run folder for each fold.
        only: Numbers of folds to train now, such as 1,2; all, unless given.
        folds: Who trains, and who is tested.
        prediction: Over which views of an image.
        classifier: What is learned from what.
        training: How it is learned.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.classify.folds import (
        fold_settings,
        summary_lines,
        table_cells,
        train_folds,
    )

    settings = fold_settings(RECIPES[recipe], classifier, training)
    made = train_folds(data, out, settings, folds, prediction, only=only, tell=print)
    heading, *rows = table_cells(made)
    table = Table(*heading, title="macro F1", title_justify="left")
    for row in rows:
        table.add_row(*row)
    terminal = Console()
    terminal = terminal if terminal.is_terminal else Console(width=120)
    terminal.print(table)
    print("\n".join(summary_lines(made, out)))


if __name__ == "__main__":
    run(main)
