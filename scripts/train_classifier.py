"""Train a classifier on the labelled images, and predict the test images."""

from dataclasses import replace
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.console import run
from atlas.training.settings import TrainingOptions
from classify.recipes import RECIPES, Recipe
from classify.settings import ClassifierOptions


def main(
    recipe: Positional[Recipe] = "densenet121",
    data: Path = Path("data"),
    out: Path = Path("runs/classifier"),
    classifier: OmitArgPrefixes[ClassifierOptions] = ClassifierOptions(),
    training: OmitArgPrefixes[TrainingOptions] = TrainingOptions(),
) -> None:
    """Train a classifier on the labelled images, and predict the test images.

    The same command goes on where a stopped run was. What is not given is the recipe's.

    Args:
        recipe: densenet121 is the winner's of 2018; smoke is small and quick; the others follow
            other networks of that time.
        data: The atlas folder.
        out: The run folder to write.
        classifier: What is learned from what.
        training: How it is learned.
    """
    from atlas.workflows.classify.training import train_classifier

    settings = classifier.applied_to(RECIPES[recipe])
    train_classifier(data, out, replace(settings, training=training.applied_to(settings.training)))


if __name__ == "__main__":
    run(main)
