"""Train an embedder on the labelled images."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.console import run
from atlas.training.settings import TrainingOptions
from retrieval.settings import RECIPES, EmbedderOptions


def main(
    recipe: Positional[Literal["card", "winner", "smoke"]] = "card",
    data: Path = Path("data"),
    out: Path = Path("runs/embedder"),
    embedder: OmitArgPrefixes[EmbedderOptions] = EmbedderOptions(),
    training: OmitArgPrefixes[TrainingOptions] = TrainingOptions(),
) -> None:
    """Train an embedder on the labelled images.

    The same command goes on where a stopped run was. What is not given is the recipe's.

    Args:
        recipe: card follows the model card; winner is the 2018 winner's; smoke is small and quick.
        data: The atlas folder.
        out: The run folder to write.
        embedder: What is learned from what.
        training: How it is learned.
    """
    from atlas.workflows.embed.embedder import train_embedder

    settings = embedder.applied_to(RECIPES[recipe])
    train_embedder(data, out, replace(settings, training=training.applied_to(settings.training)))


if __name__ == "__main__":
    run(main)
