"""A loss from its settings."""

import math
from dataclasses import fields

from pytorch_metric_learning import losses as library
from torch import nn

from atlas.core.errors import UserError
from retrieval.losses.angular_terms import angular_triplet
from retrieval.losses.contrastive import SupervisedContrastiveLoss, multi_similarity
from retrieval.losses.margins import CombinedMarginLoss, LargeMarginSoftmax, SoftmaxLoss
from retrieval.losses.metric_loss import MetricLoss
from retrieval.settings import LossName, LossSettings


def build_loss(settings: LossSettings, *, classes: int, dimension: int) -> MetricLoss:
    """The named loss and its terms, over features of `dimension`.

    classes: how many there are; losses without class vectors ignore it. First class vectors are
    drawn from torch's global generator, which the caller seeds.

    Raises UserError for a setting that is out of range or that the named loss does not use.
    """
    check_options(settings, classes=classes)
    return MetricLoss(_named(settings, classes, dimension), settings)


def _named(settings: LossSettings, classes: int, dimension: int) -> nn.Module:
    scale, degrees = settings.scale, math.degrees(settings.margin_radians)
    loss: nn.Module
    match settings.name:
        case "softmax":
            return SoftmaxLoss(classes=classes, dimension=dimension)
        case "norm_softmax":
            loss = library.NormalizedSoftmaxLoss(classes, dimension, temperature=1 / scale)
        case "l_softmax":
            factor = settings.angle_factor
            return LargeMarginSoftmax(classes=classes, dimension=dimension, angle_factor=factor)
        case "cosface":
            margin = settings.margin_cosine
            loss = library.CosFaceLoss(classes, dimension, margin=margin, scale=scale)
        case "arcface":
            # The library counts the margin in degrees.
            loss = library.ArcFaceLoss(classes, dimension, margin=degrees, scale=scale)
        case "sphereface" | "combined_margin":
            return CombinedMarginLoss(
                classes=classes,
                dimension=dimension,
                scale=scale,
                angle_factor=settings.angle_factor,
                margin_radians=settings.margin_radians,
                margin_cosine=settings.margin_cosine,
            )
        case "subcenter_arcface":
            loss = library.SubCenterArcFaceLoss(
                num_classes=classes,
                embedding_size=dimension,
                margin=degrees,
                scale=scale,
                sub_centers=settings.subcenters,
            )
        case "triplet":
            return angular_triplet(settings.margin_radians)
        case "multi_similarity":
            return multi_similarity()
        case "supervised_contrastive":
            return SupervisedContrastiveLoss(settings.temperature)
    return loss


# Which settings a named loss honours; the others are refused.


COSINE_LOSSES: tuple[LossName, ...] = (
    "norm_softmax", "sphereface", "cosface", "arcface", "combined_margin", "subcenter_arcface",
)  # fmt: skip
CLASS_VECTOR_LOSSES: tuple[LossName, ...] = ("softmax", "l_softmax", *COSINE_LOSSES)

USED_BY: dict[str, tuple[LossName, ...]] = {
    "scale": COSINE_LOSSES,
    "angle_factor": ("l_softmax", "sphereface", "combined_margin"),
    "margin_radians": ("arcface", "combined_margin", "subcenter_arcface", "triplet"),
    "margin_cosine": ("cosface", "combined_margin"),
    "subcenters": ("subcenter_arcface",),
    "temperature": ("supervised_contrastive",),
    "plain_cosine_weight": CLASS_VECTOR_LOSSES,
    "intra_weight": CLASS_VECTOR_LOSSES,
    "inter_weight": CLASS_VECTOR_LOSSES,
    "triplet_weight": CLASS_VECTOR_LOSSES,
}
# Both ends included. More than a quarter turn is hardly a margin, but likely to be degrees.
RANGES: dict[str, tuple[float, float]] = {
    "angle_factor": (0.5, math.inf),  # the ArcFace paper's CM2 takes 0.9
    "margin_radians": (0, math.pi / 2),
    "margin_cosine": (0, 2),
    "subcenters": (1, math.inf),
    "plain_cosine_weight": (0, 1),
    "intra_weight": (0, math.inf),
    "inter_weight": (0, math.inf),
    "triplet_weight": (0, math.inf),
    "triplet_margin_radians": (0, math.pi / 2),
}


def check_options(settings: LossSettings, *, classes: int) -> None:
    """Raises UserError for a setting that is out of range or that the loss does not use."""
    _check_use(settings)
    _check_ranges(settings)
    if settings.inter_weight > 0 and classes < 2:
        raise UserError("inter_weight needs at least two classes; leave it at 0.0")


def _check_use(settings: LossSettings) -> None:
    """A setting counts as given where it is not its default."""
    defaults = {field.name: field.default for field in fields(settings)}
    for option, names in USED_BY.items():
        if settings.name not in names and getattr(settings, option) != defaults[option]:
            raise UserError(
                f"{option} belongs to {_listed(names)}, not to {settings.name}; "
                f"leave it at {defaults[option]}"
            )
    margin = "triplet_margin_radians"
    if settings.triplet_weight == 0 and getattr(settings, margin) != defaults[margin]:
        raise UserError(f"{margin} belongs to triplet_weight, which is 0; set both or neither")


def _check_ranges(settings: LossSettings) -> None:
    for option, (low, high) in RANGES.items():
        value = getattr(settings, option)
        if not low <= value <= high:
            raise UserError(f"{option} {value} is not in {low:.3g}..{high:.3g}")
    for option in ("scale", "temperature"):
        if not 0 < getattr(settings, option) < math.inf:
            raise UserError(f"{option} {getattr(settings, option)} is not above 0")


def _listed(names: tuple[str, ...]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
