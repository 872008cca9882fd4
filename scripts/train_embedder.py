"""Train an embedder on the labelled images."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from retrieval.settings import RECIPES, adjusted
from scripts.console import run


def main(
    recipe: Positional[Literal["card", "winner", "smoke"]] = "card",
    data: Path = Path("data"),
    out: Path = Path("runs/embedder"),
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    image_size: int | None = None,
    trunk: str | None = None,
    weights: str | None = None,
    seed: int | None = None,
) -> None:
    """Train an embedder on the labelled images.

    The same command goes on where a stopped run was. What is not given is the recipe's.

    Args:
        recipe: card follows the model card; winner is the 2018 winner's; smoke is small and quick.
        data: The atlas folder.
        out: The run folder to write.
        epochs: Times that every image is seen.
        batch_size: Images of one step.
        learning_rate: Of Adam.
        image_size: Side in px that images are resized to.
        trunk: The timm network to start from.
        weights: auto (pretrained where they can be had), none, or a safetensors file.
        seed: Of weights, order of images, augmentation, dropout and held-out fields.
    """
    from pipeline.embedder_training import train_embedder

    settings = adjusted(
        RECIPES[recipe],
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        image_size_px=image_size,
        trunk=trunk,
        weights=weights,
        seed=seed,
    )
    train_embedder(data, out, settings)


if __name__ == "__main__":
    run(main)
