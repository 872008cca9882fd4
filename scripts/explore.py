"""Explore an atlas folder: its labels, and its images where they are there."""

from pathlib import Path

from atlas.cli.console import run
from atlas.workflows.settings import ExplorationSettings


def main(
    data: Path = Path("data"),
    out: Path = Path("runs/exploration"),
    folds: int = ExplorationSettings.folds,
    rare_below: int = ExplorationSettings.rare_below,
    sample: int | None = ExplorationSettings.sample,
    seed: int = ExplorationSettings.seed,
) -> None:
    """Explore an atlas folder: which labels there are, which occur together, how images look.

    A folder that holds only train.csv is explored by its labels.

    Args:
        data: The atlas folder.
        out: Where the page exploration.html, its tables and its plots go.
        folds: What can these do with rare labels?
        rare_below: Labels on fewer images are called rare.
        sample: So many images are looked at, drawn by seed; all, unless given.
        seed: Of that draw.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.explore.exploration import PAGE_FILE, explore

    settings = ExplorationSettings(folds=folds, rare_below=rare_below, sample=sample, seed=seed)
    explored = explore(data, out, settings)
    terminal = Console()
    terminal = terminal if terminal.is_terminal else Console(width=120)
    table = Table(title=explored.title, show_header=False)
    for name, value in explored.counts.items():
        table.add_row(name, value)
    for split in explored.labels.splits:
        for labels, images, percent in split.per_image.itertuples(index=False):
            table.add_row(
                f"{split.split} images with labels: {labels}", f"{images:,} ({percent:.6f} %)"
            )
    terminal.print(table)
    for note in explored.notes:
        terminal.print(note, markup=False, highlight=False)
    for finding in explored.stands_out:
        terminal.print(f"- {finding.lead}: {finding.told}", markup=False, highlight=False)
    print(f"wrote {out}: see {out / PAGE_FILE}")


if __name__ == "__main__":
    run(main)
