"""How a network is trained: what every room's settings share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """One training run.

    batch_size: images that pass the network together. accumulate_batches: so many of them make one
        step of the optimizer.
    learning_rate: Adam's, of what is new (head, class vectors).
    trunk_rate_share: the trunk learns at this share of it; a pretrained trunk wants less.
    frozen_trunk_epochs: for so many epochs the trunk keeps its weights and BatchNorm statistics.
    warmup_epochs: the rate rises linearly from 0 over so many epochs.
    schedule: "constant", or "cosine" down to 0 at the end of the last epoch.
    lr_steps: pairs of the epoch (counted from 0) from which on a rate holds, in rising order; only
        with a constant schedule.
    sampler: "shuffled" shows every image once an epoch; "balanced" draws as many images, every
        class equally often; "m_per_class" gives batches of `images_per_class` images a class.
    augmentation: "d4" turns by 90 degrees and flips; "photometric" does so and changes gamma,
        gain, focus and noise too; "none" leaves images as they are.
    seed: of weights that are drawn, of the order of images, of augmentation and of dropout.
    precision: Lightning's name for it, such as "32-true" or "16-mixed".
    devices: GPUs, or processes on a CPU; each takes batches of its own.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    accumulate_batches: int = 1
    trunk_rate_share: float = 1.0
    frozen_trunk_epochs: int = 0
    warmup_epochs: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    lr_steps: tuple[tuple[int, float], ...] = ()
    sampler: Literal["shuffled", "balanced", "m_per_class"] = "shuffled"
    images_per_class: int = 4
    augmentation: Literal["d4", "photometric", "none"] = "d4"
    seed: int = 0
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    devices: int = 1


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What a command may put in place of a recipe's training settings; None keeps the recipe's.

    Args:
        epochs: Times that every image is seen.
        batch_size: Images that pass the network together.
        accumulate_batches: Batches of one step of the optimizer.
        learning_rate: Of Adam, in place of the recipe's rate and of its steps.
        schedule: constant, or cosine down to 0.
        warmup_epochs: Epochs over which the rate rises from 0.
        trunk_rate_share: The trunk learns at this share of the rate.
        frozen_trunk_epochs: Epochs in which the trunk does not learn.
        sampler: shuffled, balanced (every class equally often), or m_per_class.
        images_per_class: Images of one class in a batch of m_per_class.
        augmentation: d4 (turns and flips), photometric (and gamma, gain, focus, noise), or none.
        seed: Of weights, order of images, augmentation, dropout and what is held out.
        precision: 32-true, 16-mixed or bf16-mixed.
        devices: GPUs, or processes on a CPU.
    """

    epochs: int | None = None
    batch_size: int | None = None
    accumulate_batches: int | None = None
    learning_rate: float | None = None
    schedule: Literal["constant", "cosine"] | None = None
    warmup_epochs: float | None = None
    trunk_rate_share: float | None = None
    frozen_trunk_epochs: int | None = None
    sampler: Literal["shuffled", "balanced", "m_per_class"] | None = None
    images_per_class: int | None = None
    augmentation: Literal["d4", "photometric", "none"] | None = None
    seed: int | None = None
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] | None = None
    devices: int | None = None

    def applied_to(self, training: TrainingSettings) -> TrainingSettings:
        """One rate that is given replaces all of the recipe's."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        if "learning_rate" in given or "schedule" in given:
            given["lr_steps"] = ()
        return replace(training, **given)


def training_problems(training: TrainingSettings) -> Iterator[str]:
    """What cannot be done, a line each."""
    if training.epochs < 1:
        yield f"{training.epochs} epochs: at least 1 is needed"
    if training.batch_size < 2:
        yield f"batch size {training.batch_size}: BatchNorm needs at least 2 images"
    if training.accumulate_batches < 1:
        yield f"{training.accumulate_batches} accumulated batches: at least 1 makes a step"
    if training.seed < 0:
        yield f"seed {training.seed}: must not be negative"
    if training.devices < 1:
        yield f"{training.devices} devices: at least 1 is needed"
    if training.sampler == "m_per_class":
        yield from _class_batch_problems(training)
    yield from _rate_problems(training)


def _rate_problems(training: TrainingSettings) -> Iterator[str]:
    if not training.learning_rate > 0:
        yield f"learning rate {training.learning_rate}: must be above 0"
    if not 0 < training.trunk_rate_share <= 1:
        yield f"trunk rate share {training.trunk_rate_share}: must be above 0 and at most 1"
    if training.frozen_trunk_epochs < 0:
        yield f"{training.frozen_trunk_epochs} epochs with a frozen trunk: must not be negative"
    if not 0 <= training.warmup_epochs < max(1, training.epochs):
        yield f"warm-up over {training.warmup_epochs} of {training.epochs} epochs: must be shorter"
    if training.lr_steps and training.schedule != "constant":
        yield f"rates by epoch go with a constant schedule, not with {training.schedule}"
    starts = [start for start, _ in training.lr_steps]
    if any(start < 0 for start in starts) or starts != sorted(set(starts)):
        yield f"rates by epoch start at {starts}: must rise from 0 on"
    if any(not rate > 0 for _, rate in training.lr_steps):
        yield "rates by epoch must be above 0"


def _class_batch_problems(training: TrainingSettings) -> Iterator[str]:
    if training.images_per_class < 2:
        yield f"{training.images_per_class} images per class: a pair needs at least 2"
    if training.batch_size < 2 * training.images_per_class:
        yield (
            f"batch size {training.batch_size}: holds no two classes of "
            f"{training.images_per_class} images each"
        )
