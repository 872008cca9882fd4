"""How a classifier is built and trained."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from classify.losses.terms import LossSum, LossTerm, parse_loss, term_problems
from engine.settings import TrainingSettings, training_problems

SMALLEST_SIZE_PX = 32

WINNER_LOSS: LossSum = (
    LossTerm(name="focal", weight=0.5),
    LossTerm(name="symmetric_lovasz", weight=0.5),
    LossTerm(name="hard_negative_bce", weight=0.5),
)
FOCAL_AND_LOVASZ: LossSum = (
    LossTerm(name="focal", weight=0.5),
    LossTerm(name="lovasz_hinge", weight=0.5),
)


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """One classifier: a trunk, the winner's head, a loss and a training run.

    trunk: timm's name of a convolutional network.
    weights: "auto" (pretrained where they can be had), "none", or a safetensors file.
    stem: how filters of three channels become filters of all.
    hidden: width of the head's inner layer; dropouts: before each of its two Linear layers.
    image_size_px: None takes the atlas's own size, at most 512.
    loss: a weighted sum. later_loss: takes its place from later_loss_from_epoch on, counted from 0.
    positive_weight: how often a positive counts in weighted_bce: a number for all classes, or
        "counts", the negatives over the positives of each class among the training images.
    hold_out_share: of the groups of labelled images, for validation and thresholds.
    kept_epoch: "best" by macro F1 on the hold-out, or "last", which the hold-out has no say in.
    """

    trunk: str
    weights: str = "auto"
    stem: Literal["winner", "scaled"] = "winner"
    hidden: int = 1024
    dropouts: tuple[float, float] = (0.5, 0.5)
    image_size_px: int | None = None
    loss: LossSum = FOCAL_AND_LOVASZ
    later_loss: LossSum = ()
    later_loss_from_epoch: int | None = None
    positive_weight: float | Literal["counts"] | None = None
    hold_out_share: float = 0.2
    kept_epoch: Literal["best", "last"] = "best"
    training: TrainingSettings


RECIPES = {
    # The winner's single model, but for its crops.
    "densenet121": ClassifierSettings(
        trunk="densenet121",
        loss=WINNER_LOSS,
        training=TrainingSettings(
            epochs=45,
            batch_size=32,
            learning_rate=3e-4,
            lr_steps=((25, 1.5e-4), (30, 7.5e-5), (35, 3e-5), (40, 1e-5)),
        ),
    ),
    # Small enough for two cores and no GPU; shows that a folder works before hours are spent.
    "smoke": ClassifierSettings(
        trunk="test_resnet",
        stem="scaled",
        hidden=256,
        dropouts=(0.1, 0.25),
        image_size_px=64,
        training=TrainingSettings(
            epochs=30, batch_size=16, learning_rate=2e-3, lr_steps=((20, 5e-4),)
        ),
    ),
}


NO_LATER_LOSS: dict[str, Any] = {
    "later_loss": (),
    "later_loss_from_epoch": None,
    "positive_weight": None,
}


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """What a command may put in place of a recipe's settings; None keeps the recipe's.

    Args:
        image_size_px: Side that stored images are resized to.
        trunk: The timm network to start from.
        weights: auto (pretrained where they can be had), none, a safetensors file, or the folder
            of another run.
        hold_out_share: Share of the groups of each label that is held out.
        kept_epoch: best by macro F1 on what is held out, or last.
        loss: A weighted sum, such as "0.5 focal + 0.5 symmetric_lovasz"; in place of all that the
            recipe says of losses.
        later_loss: Another, which takes its place later on.
        later_loss_from_epoch: From which epoch on, counted from 0.
        positive_weight: Of positives in weighted_bce: a number, or counts (of the training labels).
    """

    image_size_px: int | None = None
    trunk: str | None = None
    weights: str | None = None
    hold_out_share: float | None = None
    kept_epoch: Literal["best", "last"] | None = None
    loss: str | None = None
    later_loss: str | None = None
    later_loss_from_epoch: int | None = None
    positive_weight: float | Literal["counts"] | None = None

    def applied_to(self, settings: ClassifierSettings) -> ClassifierSettings:
        """Raises UserError for a loss that is not written as one."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        if self.later_loss is not None:
            given["later_loss"] = parse_loss(self.later_loss, option="--later-loss")
        if self.loss is not None:
            given = {**NO_LATER_LOSS, **given, "loss": parse_loss(self.loss, option="--loss")}
        return replace(settings, **given)


def problems(settings: ClassifierSettings) -> Iterator[str]:
    """What cannot be done, a line each."""
    size_px = settings.image_size_px
    yield from training_problems(settings.training)
    if size_px is not None and size_px < SMALLEST_SIZE_PX:
        yield f"image size {size_px} px: at least {SMALLEST_SIZE_PX} px, or a trunk sees nothing"
    if not 0 < settings.hold_out_share < 1:
        yield f"hold-out share {settings.hold_out_share}: must lie between 0 and 1"
    yield from _loss_problems(settings)


def _loss_problems(settings: ClassifierSettings) -> Iterator[str]:
    start, epochs = settings.later_loss_from_epoch, settings.training.epochs
    if not settings.loss:
        yield "no loss: nothing would be learned"
    yield from term_problems(settings.loss)
    yield from term_problems(settings.later_loss)
    if (start is None) != (not settings.later_loss):
        yield "later loss and the epoch it starts at go together; give both or neither"
    elif start is not None and not 0 < start < epochs:
        yield f"later loss from epoch {start}: must lie in 1..{epochs - 1} of {epochs} epochs"
    yield from _positive_weight_problems(settings)


def _positive_weight_problems(settings: ClassifierSettings) -> Iterator[str]:
    weight = settings.positive_weight
    used = "weighted_bce" in {term.name for term in (*settings.loss, *settings.later_loss)}
    if used and weight is None:
        yield "weighted_bce needs a positive weight: a number, such as 10, or counts"
    if not used and weight is not None:
        yield f"positive weight {weight} belongs to weighted_bce, which is in no loss; leave it out"
    if isinstance(weight, (int, float)) and not 0 < weight < math.inf:
        yield f"positive weight {weight}: must be above 0"
