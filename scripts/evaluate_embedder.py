"""Measure how well an embedder finds images of the same class."""

from pathlib import Path
from typing import Literal

from atlas.cli.console import run


def main(
    data: Path = Path("data"),
    embedder: str = "runs/embedder",
    out: Path = Path("runs/evaluation"),
    held_out: Path | None = None,
    classes: Literal["auto", "identity", "label-set"] = "auto",
    views: Literal[1, 8] | None = None,
    seed: int = 0,
) -> None:
    """Measure how well an embedder finds images of the same class.

    Args:
        data: The atlas folder; what its truth.csv knows of test images is measured too.
        embedder: What train_embedder.py or train_classifier.py wrote, or "frozen".
        out: Where evaluation.json, tables and pictures go.
        held_out: The embedder whose held-out fields are asked for, for "frozen" and classifiers.
        classes: identity, label-set, or auto: identity where any occurs twice.
        views: Flips and turns that are averaged, in place of the embedder's own.
        seed: Of pairs that are drawn, of folds, and of the gallery of the open set.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.evaluate.embedder import evaluate_embedder
    from atlas.workflows.evaluate.text import text_tables

    evaluation = evaluate_embedder(
        data, embedder, out, held_out=held_out, classes=classes, views=views, seed=seed
    )
    terminal = Console()
    terminal = terminal if terminal.is_terminal else Console(width=160)
    for told in text_tables(evaluation.measurements):
        table = Table(*told.columns, title=told.title, title_justify="left")
        for row in told.rows:
            table.add_row(*row)
        terminal.print(table)
    print(f"embedder {embedder}, which started from {evaluation.started_from}")
    for note in evaluation.notes:
        print(note)
    print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
