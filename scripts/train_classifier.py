"""Train a classifier on the labelled images, and predict the test images."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from classify.settings import RECIPES, adjusted
from scripts.console import run


def main(
    recipe: Positional[Literal["densenet121", "smoke"]] = "densenet121",
    data: Path = Path("data"),
    out: Path = Path("runs/classifier"),
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    image_size: int | None = None,
    weights: str | None = None,
    seed: int | None = None,
) -> None:
    """Train a classifier on the labelled images, and predict the test images.

    The same command goes on where a stopped run was. What is not given is the recipe's.

    Args:
        recipe: densenet121 is the full one; smoke is small and quick.
        data: The atlas folder.
        out: The run folder to write.
        epochs: Times that every image is seen.
        batch_size: Images of one step.
        learning_rate: One rate for all epochs, in place of the recipe's steps.
        image_size: Side in px that images are resized to.
        weights: auto (pretrained where they can be had), none, or a safetensors file.
        seed: Of weights, order of images, augmentation, dropout and hold-out.
    """
    from pipeline.classifier_training import train_classifier

    settings = adjusted(
        RECIPES[recipe],
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        image_size_px=image_size,
        weights=weights,
        seed=seed,
    )
    train_classifier(data, out, settings)


if __name__ == "__main__":
    run(main)
