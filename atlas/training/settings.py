"""Settings that all trainings share.

Only the standard library is imported here, so that `--help` is fast.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine", "one_cycle", "plateau"]
Sampler = Literal["shuffled", "balanced", "m_per_class"]
Augmentation = Literal["d4", "photometric", "strong", "copies", "none"]
Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]

SMALLEST_SIZE_PX = 32
# Options that depend on another option. If a user sets the first option, a recipe's values of the
# dependent ones no longer apply, and their defaults are used.
TRAINING_COMPANIONS = {
    "learning_rate": ("lr_steps",),
    "schedule": ("lr_steps", "cosine_cycles", "plateau_factor", "plateau_patience"),
    "optimizer": ("momentum",),
}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of one training.

    They are always a part of other settings, which check both together, see `training_problems`.

    Args:
        epochs: Number of times that every image is seen.
        batch_size: Number of images that pass through the network together.
        learning_rate: Learning rate of new layers (head, class vectors). A value given here also
            replaces the rates by epoch of the recipe.
        optimizer: The optimizer of torch.
        weight_decay: Weight decay of all parameters: an L2 penalty for adam, decoupled decay for
            the other optimizers (Loshchilov & Hutter 2019).
        momentum: Momentum of sgd. The other optimizers have their own.
        accumulate_batches: Number of batches for one step of the optimizer.
        clip_gradient_norm: Greatest norm of the gradient of all parameters together, to which a
            greater one is scaled down before each step. None never scales it.
        backbone_rate_share: Share of the learning rate for the backbone. A pretrained backbone
            needs less than 1.
        frozen_backbone_epochs: Number of first epochs in which the weights and BatchNorm statistics
            of the backbone do not change.
        warmup_epochs: Number of epochs over which the learning rate rises linearly from 0.
        schedule: constant; cosine falls to 0 at the end of the last epoch; one_cycle rises from a
            25th of the rate over 0.3 of the epochs and falls to almost 0; plateau multiplies the
            rate by the plateau factor when the validation metric stops improving.
        cosine_cycles: Number of equal parts of the epochs; in each of them, the schedule cosine
            falls to 0 from the learning rate.
        plateau_factor: Factor of the learning rate on a plateau.
        plateau_patience: Number of epochs without a better metric before a plateau lowers the rate.
        lr_steps: Pairs of an epoch, counted from 0, and the learning rate from that epoch on, in
            rising order. They need a constant schedule.
        sampler: shuffled shows every image once per epoch; balanced draws as many images, but every
            class equally often; m_per_class draws batches with images_per_class images of each
            class.
        images_per_class: Number of images of each class in a batch of m_per_class.
        augmentation: d4 rotates by 90 degrees and flips; photometric also changes gamma, gain,
            focus and noise; strong adds shifts, distortions and sharpening; copies does what people
            do to copies (small crops, any rotation, compression, parts of other images); none does
            not change images. See `atlas/training/augmentation.py`.
        crop_px: Side of the random window of each stored image that training sees; validation and
            prediction see the central window. None shows whole images.
        ema_decay: Share that the running average of the weights keeps at each step. The average is
            validated and saved. 0 switches it off.
        averaged_checkpoints: Number of last epochs whose weights are averaged. 0 takes the weights
            of the best epoch.
        seed: Seed of the weights, the order of images, augmentation, dropout and held-out images.
        precision: 32-true, 16-mixed, bf16-mixed, or auto, which is bf16-mixed if the GPU (or,
            without a GPU, the processor) supports bfloat16 in hardware, and else 32-true.
        devices: Number of GPUs, or of processes on a CPU. Each device takes its own batches.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Optimizer = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0
    accumulate_batches: int = 1
    clip_gradient_norm: float | None = None
    backbone_rate_share: float = 1.0
    frozen_backbone_epochs: int = 0
    warmup_epochs: float = 0.0
    schedule: Schedule = "constant"
    cosine_cycles: int = 1
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
    """Yield one line for each setting that is not valid."""
    if training.epochs < 1:
        yield f"epochs must be at least 1 (got {training.epochs})"
    if training.batch_size < 2:
        yield f"batch size must be at least 2, which BatchNorm needs (got {training.batch_size})"
    if training.accumulate_batches < 1:
        yield f"accumulated batches must be at least 1 (got {training.accumulate_batches})"
    if training.seed < 0:
        yield f"seed must not be negative (got {training.seed})"
    if training.devices < 1:
        yield f"devices must be at least 1 (got {training.devices})"
    yield from size_problems("crops of", training.crop_px)
    if training.sampler == "m_per_class":
        yield from _class_batch_problems(training)
    yield from _optimizer_problems(training)
    yield from _rate_problems(training)
    yield from _schedule_problems(training)
    yield from _average_problems(training)


def size_problems(what: str, size_px: int | None) -> Iterator[str]:
    """Yield a line if images of that side are too small, such as `crops of 8 px: ...`."""
    if size_px is not None and size_px < SMALLEST_SIZE_PX:
        yield f"{what} {size_px} px: must be at least {SMALLEST_SIZE_PX} px for a backbone"


def _optimizer_problems(training: TrainingSettings) -> Iterator[str]:
    if not training.weight_decay >= 0:
        yield f"weight decay must not be negative (got {training.weight_decay})"
    if not 0 <= training.momentum < 1:
        yield f"momentum must be at least 0 and below 1 (got {training.momentum})"
    elif training.momentum and training.optimizer != "sgd":
        yield f"momentum is an option of sgd; {training.optimizer} has its own"
    if training.clip_gradient_norm is not None and not training.clip_gradient_norm > 0:
        clip = training.clip_gradient_norm
        yield f"the norm to which gradients are clipped must be above 0 (got {clip})"


def _rate_problems(training: TrainingSettings) -> Iterator[str]:
    if not training.learning_rate > 0:
        yield f"learning rate must be above 0 (got {training.learning_rate})"
    if not 0 < training.backbone_rate_share <= 1:
        share = training.backbone_rate_share
        yield f"backbone rate share must be above 0 and at most 1 (got {share})"
    if training.frozen_backbone_epochs < 0:
        frozen = training.frozen_backbone_epochs
        yield f"epochs with a frozen backbone must not be negative (got {frozen})"
    if not 0 <= training.warmup_epochs < max(1, training.epochs):
        warmup = training.warmup_epochs
        yield f"warm-up must be from 0 to below {training.epochs} epochs (got {warmup})"
    if training.lr_steps and training.schedule != "constant":
        yield f"rates by epoch need a constant schedule (got {training.schedule})"
    starts = [start for start, _ in training.lr_steps]
    if any(start < 0 for start in starts) or starts != sorted(set(starts)):
        yield f"rates by epoch must start at rising epochs from 0 on (got {starts})"
    if any(not rate > 0 for _, rate in training.lr_steps):
        yield "rates by epoch must be above 0"


def _schedule_problems(training: TrainingSettings) -> Iterator[str]:
    if training.warmup_epochs and training.schedule == "one_cycle":
        yield "schedule one_cycle has a warm-up of its own; leave out the warm-up"
    if not 1 <= training.cosine_cycles <= max(1, training.epochs):
        yield (
            f"cosine cycles must be at least 1 and at most the number of epochs, "
            f"{training.epochs} (got {training.cosine_cycles})"
        )
    elif training.cosine_cycles > 1 and training.schedule != "cosine":
        yield f"several cosine cycles need schedule cosine (got {training.schedule})"
    if training.schedule != "plateau":
        usual = (TrainingSettings.plateau_factor, TrainingSettings.plateau_patience)
        if (training.plateau_factor, training.plateau_patience) != usual:
            yield f"plateau factor and patience need schedule plateau (got {training.schedule})"
    elif not 0 < training.plateau_factor < 1:
        yield f"plateau factor must be between 0 and 1 (got {training.plateau_factor})"
    elif training.plateau_patience < 0:
        yield f"plateau patience must not be negative (got {training.plateau_patience})"


def _average_problems(training: TrainingSettings) -> Iterator[str]:
    averaged = training.averaged_checkpoints
    learning = max(0, training.epochs - training.frozen_backbone_epochs)
    if not 0 <= training.ema_decay < 1:
        yield f"EMA decay must be at least 0 and below 1 (got {training.ema_decay})"
    if averaged < 0:
        yield f"averaged checkpoints must not be negative (got {averaged})"
    elif averaged and training.ema_decay:
        yield "EMA decay and averaged checkpoints both average the weights; choose one of them"
    elif averaged > learning:
        yield (
            f"averaged checkpoints must be at most {learning}, the number of epochs that train "
            f"the whole network (got {averaged})"
        )


def _class_batch_problems(training: TrainingSettings) -> Iterator[str]:
    if training.images_per_class < 2:
        yield f"images per class must be at least 2 (got {training.images_per_class})"
    if training.batch_size < 2 * training.images_per_class:
        yield (
            f"batch size must be at least {2 * training.images_per_class}, two classes of "
            f"{training.images_per_class} images (got {training.batch_size})"
        )
