"""How a network is trained: what every room's settings share."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """One training run.

    learning_rate: Adam's, from the first epoch on.
    lr_steps: pairs of the epoch (counted from 0) from which on a rate holds, in rising order.
    augmentation: "d4" turns by 90 degrees and flips; "none" leaves images as they are.
    seed: of weights that are drawn, of the order of images, of augmentation and of dropout.
    precision: Lightning's name for it, such as "32-true" or "16-mixed".
    """

    epochs: int
    batch_size: int
    learning_rate: float
    lr_steps: tuple[tuple[int, float], ...] = ()
    augmentation: Literal["d4", "none"] = "d4"
    seed: int = 0
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"

    def learning_rate_at(self, epoch: int) -> float:
        """The rate of an epoch, counted from 0."""
        rate = self.learning_rate
        for start, stepped in self.lr_steps:
            if epoch >= start:
                rate = stepped
        return rate
