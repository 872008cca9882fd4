"""Draw the learning curves of several embedders in one picture, also while they are trained.

Example: python -m benchmarks.learning_curves card=R/card small=R/small --out curves.png
"""

from pathlib import Path
from typing import Annotated

import tyro

from atlas.workflows.embed.embedder import draw_curves


def draw(trainings: Annotated[list[str], tyro.conf.Positional], out: Path) -> None:
    """Draw the curves.

    Args:
        trainings: The folder of each training after its name, such as card=R/card.
        out: The PNG file to write.
    """
    named = (training.partition("=") for training in trainings)
    draw_curves(out, {name: Path(folder) for name, _, folder in named})


if __name__ == "__main__":
    tyro.cli(draw)
