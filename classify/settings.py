"""How a classifier is built and trained."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from engine.settings import TrainingSettings, training_problems

SMALLEST_SIZE_PX = 32


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """One classifier: a trunk, the winner's head, a loss and a training run.

    trunk: timm's name of a convolutional network.
    weights: "auto" (pretrained where they can be had), "none", or a safetensors file.
    stem: how filters of three channels become filters of all.
    hidden: width of the head's inner layer; dropouts: before each of its two Linear layers.
    image_size_px: None takes the atlas's own size, at most 512.
    focal_weight, lovasz_weight: of the two losses in their sum.
    lovasz: "hinge" counts the labels; "symmetric" averages with the hinge of their absence.
    hold_out_share: of the groups of labelled images, for validation and thresholds.
    kept_epoch: "best" by macro F1 on the hold-out, or "last", which the hold-out has no say in.
    """

    trunk: str
    weights: str = "auto"
    stem: Literal["winner", "scaled"] = "winner"
    hidden: int = 1024
    dropouts: tuple[float, float] = (0.5, 0.5)
    image_size_px: int | None = None
    focal_weight: float = 0.5
    lovasz_weight: float = 0.5
    lovasz: Literal["hinge", "symmetric"] = "hinge"
    hold_out_share: float = 0.2
    kept_epoch: Literal["best", "last"] = "best"
    training: TrainingSettings


RECIPES = {
    # The winner's single model, but for its third loss and its crops.
    "densenet121": ClassifierSettings(
        trunk="densenet121",
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
    """

    image_size_px: int | None = None
    trunk: str | None = None
    weights: str | None = None
    hold_out_share: float | None = None
    kept_epoch: Literal["best", "last"] | None = None

    def applied_to(self, settings: ClassifierSettings) -> ClassifierSettings:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return replace(settings, **given)


def problems(settings: ClassifierSettings) -> Iterator[str]:
    """What cannot be done, a line each."""
    size_px = settings.image_size_px
    yield from training_problems(settings.training)
    if size_px is not None and size_px < SMALLEST_SIZE_PX:
        yield f"image size {size_px} px: at least {SMALLEST_SIZE_PX} px, or a trunk sees nothing"
    if not 0 < settings.hold_out_share < 1:
        yield f"hold-out share {settings.hold_out_share}: must lie between 0 and 1"
    if min(settings.focal_weight, settings.lovasz_weight) < 0:
        yield "loss weights must not be negative"
    if settings.focal_weight + settings.lovasz_weight == 0:
        yield "loss weights are both 0: nothing would be learned"
