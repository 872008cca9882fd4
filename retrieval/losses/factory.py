"""Losses by name. A new loss is a row of LOSSES, a name in `LossName` and settings in NAMED_LOSSES.

A setting that the named loss does not use is refused.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import NamedTuple

from pytorch_metric_learning import losses as library
from torch import nn

from atlas.core.errors import UserError
from retrieval.losses.contrastive import SupervisedContrastiveLoss, multi_similarity
from retrieval.losses.margins import CombinedMarginLoss, LargeMarginSoftmax, SoftmaxLoss
from retrieval.losses.metric_loss import MetricLoss, angular_triplet
from retrieval.settings import LossName, LossSettings


class NamedLoss(NamedTuple):
    """How a loss is made: of its settings, the number of classes and the dimension of features.

    uses: the settings that it honours.
    """

    make: Callable[[LossSettings, int, int], nn.Module]
    uses: tuple[str, ...] = ()


def build_loss(settings: LossSettings, *, classes: int, dimension: int) -> MetricLoss:
    """Return the named loss and its terms, over features of `dimension`.

    classes: how many there are; losses without class vectors ignore it. Class vectors are drawn
    from torch's global generator, which the caller seeds.

    Raises UserError for a setting that is out of range or that the named loss does not use.
    """
    _check_use(settings)
    _check_ranges(settings)
    if settings.inter_weight > 0 and classes < 2:
        raise UserError("inter_weight needs at least two classes; leave it at 0.0")
    return MetricLoss(LOSSES[settings.name].make(settings, classes, dimension), settings)


def _combined(settings: LossSettings, classes: int, dimension: int) -> nn.Module:
    return CombinedMarginLoss(
        classes=classes,
        dimension=dimension,
        scale=settings.scale,
        angle_factor=settings.angle_factor,
        margin_radians=settings.margin_radians,
        margin_cosine=settings.margin_cosine,
    )


def _degrees(settings: LossSettings) -> float:
    """As the library counts margins."""
    return math.degrees(settings.margin_radians)


# The terms that may be added to losses with class vectors.
TERMS = ("plain_cosine_weight", "intra_weight", "inter_weight", "triplet_weight")

LOSSES: dict[LossName, NamedLoss] = {
    "softmax": NamedLoss(lambda s, c, d: SoftmaxLoss(classes=c, dimension=d), TERMS),
    "norm_softmax": NamedLoss(
        lambda s, c, d: library.NormalizedSoftmaxLoss(c, d, temperature=1 / s.scale),
        ("scale", *TERMS),
    ),
    "l_softmax": NamedLoss(
        lambda s, c, d: LargeMarginSoftmax(classes=c, dimension=d, angle_factor=s.angle_factor),
        ("angle_factor", *TERMS),
    ),
    "sphereface": NamedLoss(_combined, ("scale", "angle_factor", *TERMS)),
    "cosface": NamedLoss(
        lambda s, c, d: library.CosFaceLoss(c, d, margin=s.margin_cosine, scale=s.scale),
        ("scale", "margin_cosine", *TERMS),
    ),
    "arcface": NamedLoss(
        lambda s, c, d: library.ArcFaceLoss(c, d, margin=_degrees(s), scale=s.scale),
        ("scale", "margin_radians", *TERMS),
    ),
    "combined_margin": NamedLoss(
        _combined, ("scale", "angle_factor", "margin_radians", "margin_cosine", *TERMS)
    ),
    "subcenter_arcface": NamedLoss(
        lambda s, c, d: library.SubCenterArcFaceLoss(
            num_classes=c, embedding_size=d, margin=_degrees(s), scale=s.scale,
            sub_centers=s.subcenters,
        ),
        ("scale", "margin_radians", "subcenters", *TERMS),
    ),
    "triplet": NamedLoss(lambda s, c, d: angular_triplet(s.margin_radians), ("margin_radians",)),
    "multi_similarity": NamedLoss(lambda s, c, d: multi_similarity()),
    "supervised_contrastive": NamedLoss(
        lambda s, c, d: SupervisedContrastiveLoss(s.temperature), ("temperature",)
    ),
}  # fmt: skip
CLASS_VECTOR_LOSSES = tuple(name for name, loss in LOSSES.items() if set(TERMS) <= {*loss.uses})

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


def _check_use(settings: LossSettings) -> None:
    """A setting counts as given where it is not its default."""
    given = [
        (field.name, field.default)
        for field in fields(settings)
        if getattr(settings, field.name) != field.default
    ]
    for option, default in given:
        if option == "triplet_margin_radians" and settings.triplet_weight == 0:
            raise UserError(f"{option} belongs to triplet_weight, which is 0; set both or neither")
        users = [name for name, loss in LOSSES.items() if option in loss.uses]
        if users and settings.name not in users:
            raise UserError(
                f"{option} belongs to {_listed(users)}, not to {settings.name}; "
                f"leave it at {default}"
            )


def _check_ranges(settings: LossSettings) -> None:
    for option, (low, high) in RANGES.items():
        value = getattr(settings, option)
        if not low <= value <= high:
            raise UserError(f"{option} {value} is not in {low:.3g}..{high:.3g}")
    for option in ("scale", "temperature"):
        if not 0 < getattr(settings, option) < math.inf:
            raise UserError(f"{option} {getattr(settings, option)} is not above 0")


def _listed(names: list[LossName]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
