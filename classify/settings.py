"""How a classifier is built, trained and asked, and how its backbone is pre-trained. Nothing heavy is
imported here, so that `--help` is instant."""

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
OWN_BACKBONE = "gapnet_pl"  # the one network whose backbone is not timm's, under its own name

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
    """One classifier: a network, a loss and a training run.

    Args:
        network: What is built on the backbone, see classify/networks/; backbone is the winner's head
            alone.
        backbone: The convolutional network of timm to start from; gapnet_pl has its own, of that name.
        weights: auto (pretrained where they can be had), none, a safetensors file, or the folder
            of another run, whose backbone is taken.
        stem: How filters of three channels become filters of all.
        channel_recipe: Mixtures of the stored channels that it sees: as_stored, rgby, rgb, 0_g_0,
            r+y_g+y_b, b+y_r+y_g, or one channel's name; see classify/channels.py.
        hidden: Width of the head's inner layer.
        dropouts: At each of its two linear layers.
        auxiliary_weight: Of the second loss of dual_decoder and dual_segmentation, beside the loss
            with weight 1.
        protein_channel: The channel that dual_segmentation follows; None takes green, or else the
            first.
        image_size_px: Side of the stored images; None takes the atlas's own size, at most 512.
        loss: A weighted sum, such as "0.5 focal + 0.5 symmetric_lovasz"; in place of all that the
            recipe says of losses.
        later_loss: Another, which takes its place later on.
        later_loss_from_epoch: From which epoch on, counted from 0.
        positive_weight: How often a positive counts in weighted_bce: a number for all classes, or
            counts, the negatives over the positives of each class among the training images.
        external_share: Share of an epoch's images that comes from external.csv; None shows each
            image of either table as the sampler says. See `atlas/training/samplers.py`.
        hold_out_share: Share of the groups of labelled images that is held out for validation and
            thresholds.
        kept_epoch: best by macro F1 on what is held out, or last, in which that has no say.
        training: How it is learned.
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
    later_loss_from_epoch: int | None = None
    positive_weight: float | Literal["counts"] | None = None
    external_share: float | None = None
    hold_out_share: float = 0.2
    kept_epoch: Literal["best", "last"] = "best"
    training: TrainingSettings

    @property
    def seen_px(self) -> int | None:
        """Side of what the network is shown."""
        return self.training.crop_px or self.image_size_px

    def __post_init__(self) -> None:
        refuse(_problems(self))


# As TRAINING_COMPANIONS: whoever gives a loss gets nothing of what the recipe says of losses.
CLASSIFIER_COMPANIONS = {"loss": ("loss", "later_loss", "later_loss_from_epoch", "positive_weight")}


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """Views of each image, and what becomes of their probabilities.

    Args:
        views: 1 takes images as they are, 8 all flips and rotations.
        crops: Of each image: 1 in the middle, 4 in the corners, 5 both, 9 in a grid.
        view_px: Side of a crop; that of the crops in training, or whole images, unless given.
        combine: Of the probabilities of all views: mean, max or median.
    """

    views: Literal[1, 8] = 1
    crops: Literal[1, 4, 5, 9] = 1
    view_px: int | None = None
    combine: Literal["mean", "max", "median"] = "mean"


def as_trained(prediction: PredictionSettings, settings: ClassifierSettings) -> PredictionSettings:
    """With crops of the side that training saw, where none is given."""
    if prediction.view_px is not None:
        return prediction
    return replace(prediction, view_px=settings.training.crop_px)


def prediction_problems(
    prediction: PredictionSettings, settings: ClassifierSettings, *, image_size_px: int
) -> Iterator[str]:
    """What cannot be done with such a classifier of images of that side, a line each."""
    side_px = as_trained(prediction, settings).view_px
    seen_px = settings.training.crop_px or image_size_px
    if side_px is None and prediction.crops > 1:
        yield f"{prediction.crops} crops of whole images would all be alike: give --view-px"
    if side_px is not None and not 1 <= side_px <= image_size_px:
        yield f"crops of {side_px} px: the classifier's images have {image_size_px} px"
    if side_px not in (None, seen_px) and settings.network == "finetune":
        yield f"a fine-tuned network takes nothing but {seen_px} px: leave out --view-px"


def fold_problems(settings: ClassifierSettings) -> Iterator[str]:
    """Yield what suits one training, but not the folds of a cross-validation, one line each."""
    if settings.hold_out_share != ClassifierSettings.hold_out_share:
        yield "a hold-out share goes with one training: folds hold out a part each"
    if settings.training.schedule == "plateau" and settings.kept_epoch == "last":
        yield (
            "schedule plateau follows the tested images of a fold, which are to choose nothing: "
            "take another, or --kept-epoch best and optimistic scores"
        )


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """An auto-encoder: a backbone, and a small decoder that draws the image again from its last map.

    Give the classifier that starts from it the same backbone, stem, channel recipe and image size.

    Args:
        backbone: The timm network to pre-train.
        weights: auto (pretrained where they can be had), none, a safetensors file, or the folder
            of another run.
        stem: How filters of three channels become filters of all.
        channel_recipe: as_stored, rgby, rgb, 0_g_0, r+y_g+y_b, b+y_r+y_g, or one channel's name.
        image_size_px: Side of the stored images; None takes the atlas's own size, at most 512.
        kl_weight: 0 is a plain auto-encoder. Above, it is a variational one: the decoder is given
            what is drawn from a normal distribution for each place, and their divergence from the
            standard one is added with this weight, as a mean over all numbers that are drawn.
        hold_out_share: Share of the groups of labelled images that is held out to choose the epoch
            by.
        training: How it is learned.
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
    """Yield what cannot be done, one line each."""
    yield from _shared_problems(settings)
    yield from _network_problems(settings)
    if settings.kept_epoch == "best" and settings.training.averaged_checkpoints:
        yield "averaged checkpoints are of the last epochs, not of the best: give --kept-epoch last"
    yield from _external_problems(settings)
    yield from _loss_problems(settings)


def _pretraining_problems(settings: PretrainingSettings) -> Iterator[str]:
    """Yield what cannot be done, one line each."""
    yield from _shared_problems(settings)
    if settings.backbone == OWN_BACKBONE:
        yield f"backbone {OWN_BACKBONE} starts from random weights only; pre-train one of timm's"
    if not 0 <= settings.kl_weight < math.inf:
        yield f"KL weight {settings.kl_weight}: must not be negative"


def _shared_problems(settings: ClassifierSettings | PretrainingSettings) -> Iterator[str]:
    """Yield what is wrong with the training, the sizes or the held-out share."""
    size_px, crop_px = settings.image_size_px, settings.training.crop_px
    yield from training_problems(settings.training)
    yield from size_problems("image size", size_px)
    if size_px is not None and crop_px is not None and crop_px > size_px:
        yield f"crops of {crop_px} px: larger than the images of {size_px} px"
    if not 0 < settings.hold_out_share < 1:
        yield f"hold-out share {settings.hold_out_share}: must lie between 0 and 1"


def _external_problems(settings: ClassifierSettings) -> Iterator[str]:
    share = settings.external_share
    if share is not None and not 0 < share < 1:
        yield f"external share {share}: must lie between 0 and 1"
    if share is not None and settings.training.sampler == "m_per_class":
        yield "external share: m_per_class fills its batches by class alone; take another sampler"


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


def _network_problems(settings: ClassifierSettings) -> Iterator[str]:
    network, weight = settings.network, settings.auxiliary_weight
    if (network == OWN_BACKBONE) != (settings.backbone == OWN_BACKBONE):
        yield f"network {network} on backbone {settings.backbone}: {OWN_BACKBONE} goes with its own backbone"
    if network == OWN_BACKBONE and settings.weights not in ("auto", "none"):
        yield f"weights {settings.weights}: {OWN_BACKBONE} starts from random weights only"
    if network in WITH_SECOND_LOSS and not 0 < weight < math.inf:
        yield f"auxiliary weight {weight}: {network} needs one above 0; else take network backbone"
    if network not in WITH_SECOND_LOSS and weight != 0:
        yield f"auxiliary weight {weight}: network {network} has no second loss; leave it at 0"
    if network != "dual_segmentation" and settings.protein_channel is not None:
        yield f"protein channel {settings.protein_channel}: only dual_segmentation follows one"


# Below the helpers, which check it.
USUAL = PretrainingSettings(
    training=TrainingSettings(epochs=20, batch_size=32, learning_rate=1e-3, schedule="cosine")
)
