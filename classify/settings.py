"""Define the settings of classifiers, of predictions and of pre-training.

Only the standard library is imported, so that `--help` is instant.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from atlas.core.errors import refuse
from atlas.training.settings import TrainingSettings, size_problems, training_problems
from classify.channels import AS_STORED
from classify.losses.terms import LossSum, LossTerm, term_problems

NetworkKind = Literal[
    "backbone", "gapnet_pl", "gapnet", "dual_decoder", "dual_segmentation", "finetune"
]
WITH_SECOND_LOSS = ("dual_decoder", "dual_segmentation")
OWN_BACKBONE = "gapnet_pl"  # the only network whose backbone is not from timm; both share the name

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
    """Settings of a classifier: its network, its loss and its training.

    Args:
        network: What is built on the backbone. backbone adds only the head of the HPA 2018 winner;
            see classify/networks/ for the others.
        backbone: Name of the timm network to start from; the network gapnet_pl requires the
            backbone of the same name.
        weights: Initial weights of the backbone: auto (pretrained weights where they can be found),
            none (random), a safetensors file, or the folder of another run.
        stem: How the filters of the first layer are extended to more than three channels: winner
            copies the red filters, as the winner of HPA 2018 did; scaled repeats all filters and
            scales them, which keeps the size of the activations.
        channel_recipe: Mixture of the stored channels that the network sees: as_stored, rgby, rgb,
            0_g_0, r+y_g+y_b, b+y_r+y_g, or the name of one channel.
        hidden: Number of units in the hidden layer of the head.
        dropouts: Dropout rates before the two linear layers of the head.
        auxiliary_weight: Weight of the second loss of dual_decoder and dual_segmentation; the
            classification loss has weight 1.
        protein_channel: Channel that dual_segmentation predicts maps of; by default green, or the
            first channel if there is no green.
        image_size_px: Side of the stored images in pixels; by default, the size of the atlas's own
            images, up to 512.
        loss: Weighted sum of losses, such as "0.5 focal + 0.5 symmetric_lovasz". It replaces all
            that the recipe says of losses.
        later_loss: Weighted sum of losses that replaces the loss after a share of the epochs.
        later_loss_after: Share of the epochs after which the later loss is used, rounded to whole
            epochs; 0.5 changes the loss half-way.
        positive_weight: Weight of positives in weighted_bce: a number for all classes, or counts
            for the number of negatives over the number of positives of each class among the
            training images.
        external_share: Share of the images of an epoch that come from external.csv; by default, the
            sampler treats the images of both tables alike.
        hold_out_share: Share of the groups of labelled images that is held out for validation and
            to choose thresholds.
        kept_epoch: Epoch that is kept: best by macro F1 on the held-out images, or last, which the
            held-out images do not influence.
        training: How the classifier is trained.
    """

    network: NetworkKind = "backbone"
    backbone: str
    weights: str = "auto"
    stem: Literal["winner", "scaled"] = "winner"
    channel_recipe: str = AS_STORED
    hidden: int = 1024
    dropouts: tuple[float, float] = (0.5, 0.5)
    auxiliary_weight: float = 0.0
    protein_channel: str | None = None
    image_size_px: int | None = None
    loss: LossSum = FOCAL_AND_LOVASZ
    later_loss: LossSum = ()
    later_loss_after: float | None = None
    positive_weight: float | Literal["counts"] | None = None
    external_share: float | None = None
    hold_out_share: float = 0.2
    kept_epoch: Literal["best", "last"] = "best"
    training: TrainingSettings

    @property
    def seen_px(self) -> int | None:
        """Return the side of images or crops that the network sees, or None if it is not set."""
        return self.training.crop_px or self.image_size_px

    @property
    def later_loss_epoch(self) -> int | None:
        """Return the first epoch of the later loss, counted from 0, or None if there is none."""
        if self.later_loss_after is None:
            return None
        return round(self.later_loss_after * self.training.epochs)

    def __post_init__(self) -> None:
        refuse(_problems(self))


# As TRAINING_COMPANIONS: a given loss replaces all that the recipe says of losses.
CLASSIFIER_COMPANIONS = {"loss": ("loss", "later_loss", "later_loss_after", "positive_weight")}


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """Settings of a prediction: the views of each image, and how they are combined.

    Args:
        views: Number of views of each image: 1, or 8 for all flips and rotations.
        crops: Number of crops of each image: 1 in the centre, 4 in the corners, 5 for both, or 9 in
            a grid.
        view_px: Side of a crop in pixels; by default, that of the crops in training, or whole
            images.
        combine: How the probabilities of all views are combined.
    """

    views: Literal[1, 8] = 1
    crops: Literal[1, 4, 5, 9] = 1
    view_px: int | None = None
    combine: Literal["mean", "max", "median"] = "mean"


def as_trained(prediction: PredictionSettings, settings: ClassifierSettings) -> PredictionSettings:
    """Return the settings with the crop size of the training, unless a size is given."""
    if prediction.view_px is not None:
        return prediction
    return replace(prediction, view_px=settings.training.crop_px)


def prediction_problems(
    prediction: PredictionSettings, settings: ClassifierSettings, *, image_size_px: int
) -> Iterator[str]:
    """Yield what prevents a prediction with this classifier and image size, one line each."""
    side_px = as_trained(prediction, settings).view_px
    seen_px = settings.training.crop_px or image_size_px
    if side_px is None and prediction.crops > 1:
        yield f"{prediction.crops} crops of whole images would all be alike; give --view-px"
    if side_px is not None and not 1 <= side_px <= image_size_px:
        yield (
            f"crops of {side_px} px: the size must be between 1 px and {image_size_px} px, "
            "the size of the classifier's images"
        )
    if side_px not in (None, seen_px) and settings.network == "finetune":
        yield f"the network finetune only accepts {seen_px} px; leave out --view-px"


def fold_problems(settings: ClassifierSettings) -> Iterator[str]:
    """Yield settings that suit a single training but not folds, one line each."""
    if settings.hold_out_share != ClassifierSettings.hold_out_share:
        yield "leave out --hold-out-share: folds hold out a part each"
    if settings.training.schedule == "plateau" and settings.kept_epoch == "last":
        yield (
            "schedule plateau follows the tested images of a fold, which must not influence its "
            "training; choose another schedule, or accept optimistic scores with --kept-epoch best"
        )


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """Settings of an auto-encoder: a backbone and a small decoder that reconstructs the image.

    A classifier that starts from it needs the same backbone, stem, channel recipe and image size.

    Args:
        backbone: Name of the timm network to pre-train.
        weights: Initial weights of the backbone: auto (pretrained weights where they can be found),
            none (random), a safetensors file, or the folder of another run.
        stem: How the filters of the first layer are extended to more than three channels: winner
            copies the red filters, as the winner of HPA 2018 did; scaled repeats all filters and
            scales them, which keeps the size of the activations.
        channel_recipe: Mixture of the stored channels that the network sees: as_stored, rgby, rgb,
            0_g_0, r+y_g+y_b, b+y_r+y_g, or the name of one channel.
        image_size_px: Side of the stored images in pixels; by default, the size of the atlas's own
            images, up to 512.
        kl_weight: Weight of the divergence of a variational auto-encoder, which draws the decoder's
            input from a normal distribution; 0 means a plain auto-encoder. The divergence from the
            standard normal distribution is a mean over all drawn numbers.
        hold_out_share: Share of the groups of labelled images that is held out to choose the best
            epoch.
        training: How the auto-encoder is trained.
    """

    backbone: str = "resnet34"
    weights: str = "auto"
    stem: Literal["winner", "scaled"] = "winner"
    channel_recipe: str = AS_STORED
    image_size_px: int | None = None
    kl_weight: float = 0.0
    hold_out_share: float = 0.2
    training: TrainingSettings

    def __post_init__(self) -> None:
        refuse(_pretraining_problems(self))


def _problems(settings: ClassifierSettings) -> Iterator[str]:
    yield from _shared_problems(settings)
    yield from _network_problems(settings)
    if settings.kept_epoch == "best" and settings.training.averaged_checkpoints:
        yield "averaged checkpoints are those of the last epochs; give --kept-epoch last"
    yield from _external_problems(settings)
    yield from _loss_problems(settings)


def _pretraining_problems(settings: PretrainingSettings) -> Iterator[str]:
    yield from _shared_problems(settings)
    if settings.backbone == OWN_BACKBONE:
        yield f"backbone {OWN_BACKBONE} cannot be pre-trained; choose a network of timm"
    if not 0 <= settings.kl_weight < math.inf:
        yield f"KL weight must be at least 0 (got {settings.kl_weight})"


def _shared_problems(settings: ClassifierSettings | PretrainingSettings) -> Iterator[str]:
    size_px, crop_px = settings.image_size_px, settings.training.crop_px
    yield from training_problems(settings.training)
    yield from size_problems("image size", size_px)
    if size_px is not None and crop_px is not None and crop_px > size_px:
        yield f"crops of {crop_px} px are larger than the images of {size_px} px"
    if not 0 < settings.hold_out_share < 1:
        yield f"hold-out share must be between 0 and 1 (got {settings.hold_out_share})"


def _external_problems(settings: ClassifierSettings) -> Iterator[str]:
    share = settings.external_share
    if share is not None and not 0 < share < 1:
        yield f"external share must be between 0 and 1 (got {share})"
    if share is not None and settings.training.sampler == "m_per_class":
        yield (
            "external share does not work with the sampler m_per_class, which fills batches by "
            "class; choose another sampler"
        )


def _loss_problems(settings: ClassifierSettings) -> Iterator[str]:
    share, epochs = settings.later_loss_after, settings.training.epochs
    if not settings.loss:
        yield "the loss is empty; give at least one term"
    yield from term_problems(settings.loss)
    yield from term_problems(settings.later_loss)
    if (share is None) != (not settings.later_loss):
        yield "give both --later-loss and --later-loss-after, or neither"
    elif share is not None and not 0 < share < 1:
        yield f"the share of epochs before the later loss must be between 0 and 1 (got {share})"
    elif settings.later_loss_epoch in (0, epochs):
        yield (
            f"too few epochs ({epochs}) for a later loss after a share of {share} of them; "
            "give more epochs, or only --loss"
        )
    yield from _positive_weight_problems(settings)


def _positive_weight_problems(settings: ClassifierSettings) -> Iterator[str]:
    weight = settings.positive_weight
    used = "weighted_bce" in {term.name for term in (*settings.loss, *settings.later_loss)}
    if used and weight is None:
        yield "weighted_bce needs a positive weight: a number, such as 10, or counts"
    if not used and weight is not None:
        yield f"positive weight {weight} belongs to weighted_bce, which no loss uses; leave it out"
    if isinstance(weight, (int, float)) and not 0 < weight < math.inf:
        yield f"positive weight must be above 0 (got {weight})"


def _network_problems(settings: ClassifierSettings) -> Iterator[str]:
    network, weight = settings.network, settings.auxiliary_weight
    if (network == OWN_BACKBONE) != (settings.backbone == OWN_BACKBONE):
        yield (
            f"network {network} cannot use backbone {settings.backbone}; "
            f"network {OWN_BACKBONE} and backbone {OWN_BACKBONE} are only used together"
        )
    if network == OWN_BACKBONE and settings.weights not in ("auto", "none"):
        yield (
            f"weights {settings.weights}: {OWN_BACKBONE} starts from random weights only; "
            "leave out --weights"
        )
    if network in WITH_SECOND_LOSS and not 0 < weight < math.inf:
        yield f"auxiliary weight must be above 0 for network {network} (got {weight})"
    if network not in WITH_SECOND_LOSS and weight != 0:
        yield f"auxiliary weight {weight}: network {network} has no second loss; leave it at 0"
    if network != "dual_segmentation" and settings.protein_channel is not None:
        yield (
            f"protein channel {settings.protein_channel}: only network dual_segmentation uses one; "
            "leave out --protein-channel"
        )


# Defined below the helpers, because creating it calls them.
USUAL = PretrainingSettings(
    training=TrainingSettings(epochs=20, batch_size=32, learning_rate=1e-3, schedule="cosine")
)
