"""How a network is trained: the settings that all trainings share. Only the standard library is
imported here, so that `--help` is instant."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine", "one_cycle", "plateau"]
Sampler = Literal["shuffled", "balanced", "m_per_class"]
Augmentation = Literal["d4", "photometric", "strong", "none"]
Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]

SMALLEST_SIZE_PX = 32
# What a recipe says of these options belongs to the option before them: whoever gives that option
# gets the usual values of the others.
TRAINING_COMPANIONS = {
    "learning_rate": ("lr_steps",),
    "schedule": ("lr_steps", "plateau_factor", "plateau_patience"),
    "optimizer": ("momentum",),
}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """One training run.

    These settings are always a part of others, which check both together: see `training_problems`.

    Args:
        epochs: Times that every image is seen.
        batch_size: Images that pass the network together.
        learning_rate: Of what is new (head, class vectors); a rate that is given replaces the
            recipe's steps too.
        optimizer: The optimizer of torch.
        weight_decay: Of all parameters; for adam it is an L2 penalty, for the others decay
            (Loshchilov & Hutter 2019).
        momentum: Of sgd alone.
        accumulate_batches: Batches that make one step of the optimizer.
        backbone_rate_share: The backbone learns at this share of the rate; a pretrained one wants less.
        frozen_backbone_epochs: Epochs in which the backbone keeps its weights and BatchNorm statistics.
        warmup_epochs: Epochs over which the rate rises linearly from 0.
        schedule: constant; cosine down to 0 at the end of the last epoch; one_cycle up from a 25th
            of the rate over 0.3 of the epochs and down to almost nothing; plateau multiplies the
            rate by the plateau factor where the validation metric stops rising.
        plateau_factor: What a plateau multiplies the rate by.
        plateau_patience: Epochs without a better metric before a plateau lowers the rate.
        lr_steps: Pairs of an epoch, counted from 0, and the rate that holds from there on, in
            rising order; only with a constant schedule.
        sampler: shuffled shows every image once an epoch; balanced draws as many images, every
            class equally often; m_per_class gives batches of images_per_class images a class.
        images_per_class: Images of one class in a batch of m_per_class.
        augmentation: d4 rotates by 90 degrees and flips; photometric also changes gamma, gain,
            focus and noise; strong adds shifts, distortions and sharpening; none leaves images as
            they are. See `atlas/training/augmentation.py`.
        crop_px: Side of the random window of each stored image that training sees; validation and
            prediction see the window in the middle. None shows images whole.
        ema_decay: Share that the running average of the weights keeps at each step; the average is
            what is validated and kept. 0 turns it off.
        averaged_checkpoints: Last epochs whose weights are averaged; 0 takes the best epoch's.
        seed: Of weights, order of images, augmentation, dropout and what is held out.
        precision: 32-true, 16-mixed, bf16-mixed, or auto: bf16-mixed where the GPU, or else the
            processor, computes in bfloat16 itself.
        devices: GPUs, or processes on a CPU; each takes batches of its own.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Optimizer = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0
    accumulate_batches: int = 1
    backbone_rate_share: float = 1.0
    frozen_backbone_epochs: int = 0
    warmup_epochs: float = 0.0
    schedule: Schedule = "constant"
    plateau_factor: float = 0.1
    plateau_patience: int = 10
    lr_steps: tuple[tuple[int, float], ...] = ()
    sampler: Sampler = "shuffled"
    images_per_class: int = 4
    augmentation: Augmentation = "d4"
    crop_px: int | None = None
    ema_decay: float = 0.0
    averaged_checkpoints: int = 0
    seed: int = 0
    precision: Precision = "auto"
    devices: int = 1


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
    yield from size_problems("crops of", training.crop_px)
    if training.sampler == "m_per_class":
        yield from _class_batch_problems(training)
    yield from _optimizer_problems(training)
    yield from _rate_problems(training)
    yield from _schedule_problems(training)
    yield from _average_problems(training)


def size_problems(what: str, size_px: int | None) -> Iterator[str]:
    """Yield a line where images of that side are too small, such as `crops of 8 px: ...`."""
    if size_px is not None and size_px < SMALLEST_SIZE_PX:
        yield f"{what} {size_px} px: at least {SMALLEST_SIZE_PX} px, or a backbone sees nothing"


def _optimizer_problems(training: TrainingSettings) -> Iterator[str]:
    if not training.weight_decay >= 0:
        yield f"weight decay {training.weight_decay}: must not be negative"
    if not 0 <= training.momentum < 1:
        yield f"momentum {training.momentum}: must lie from 0 to below 1"
    elif training.momentum and training.optimizer != "sgd":
        yield f"momentum belongs to sgd; {training.optimizer} has its own"


def _rate_problems(training: TrainingSettings) -> Iterator[str]:
    if not training.learning_rate > 0:
        yield f"learning rate {training.learning_rate}: must be above 0"
    if not 0 < training.backbone_rate_share <= 1:
        yield f"backbone rate share {training.backbone_rate_share}: must be above 0 and at most 1"
    if training.frozen_backbone_epochs < 0:
        yield f"{training.frozen_backbone_epochs} epochs with a frozen backbone: must not be negative"
    if not 0 <= training.warmup_epochs < max(1, training.epochs):
        yield f"warm-up over {training.warmup_epochs} of {training.epochs} epochs: must be shorter"
    if training.lr_steps and training.schedule != "constant":
        yield f"rates by epoch go with a constant schedule, not with {training.schedule}"
    starts = [start for start, _ in training.lr_steps]
    if any(start < 0 for start in starts) or starts != sorted(set(starts)):
        yield f"rates by epoch start at {starts}: must rise from 0 on"
    if any(not rate > 0 for _, rate in training.lr_steps):
        yield "rates by epoch must be above 0"


def _schedule_problems(training: TrainingSettings) -> Iterator[str]:
    if training.warmup_epochs and training.schedule == "one_cycle":
        yield "one_cycle rises by itself: leave the warm-up out"
    if training.schedule != "plateau":
        usual = (TrainingSettings.plateau_factor, TrainingSettings.plateau_patience)
        if (training.plateau_factor, training.plateau_patience) != usual:
            yield f"plateau factor and patience go with schedule plateau, not {training.schedule}"
    elif not 0 < training.plateau_factor < 1:
        yield f"plateau factor {training.plateau_factor}: must lie between 0 and 1"
    elif training.plateau_patience < 0:
        yield f"plateau patience {training.plateau_patience}: must not be negative"


def _average_problems(training: TrainingSettings) -> Iterator[str]:
    averaged = training.averaged_checkpoints
    learning = max(0, training.epochs - training.frozen_backbone_epochs)
    if not 0 <= training.ema_decay < 1:
        yield f"EMA decay {training.ema_decay}: must lie from 0 to below 1"
    if averaged < 0:
        yield f"{averaged} averaged checkpoints: must not be negative"
    elif averaged and training.ema_decay:
        yield "an EMA and averaged checkpoints both average: take one"
    elif averaged > learning:
        yield f"{averaged} averaged checkpoints: only {learning} epochs train the whole network"


def _class_batch_problems(training: TrainingSettings) -> Iterator[str]:
    if training.images_per_class < 2:
        yield f"{training.images_per_class} images per class: a pair needs at least 2"
    if training.batch_size < 2 * training.images_per_class:
        yield (
            f"batch size {training.batch_size}: holds no two classes of "
            f"{training.images_per_class} images each"
        )
