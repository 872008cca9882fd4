"""Build losses by name.

To add a loss, add a row to LOSSES here. In `retrieval/settings.py`, add its name to `LossName`, the
settings that it uses to USES, and its usual settings to NAMED_LOSSES.
"""

import math
from collections.abc import Callable

from pytorch_metric_learning import losses as library
from torch import nn

from atlas.core.errors import UserError
from retrieval.losses.contrastive import SupervisedContrastiveLoss, multi_similarity
from retrieval.losses.margins import (
    ArcFace,
    CombinedMarginLoss,
    LargeMarginSoftmax,
    SoftmaxLoss,
    SubCenterArcFace,
)
from retrieval.losses.metric_loss import MetricLoss, angular_triplet
from retrieval.settings import LossName, LossSettings


def build_loss(settings: LossSettings, *, classes: int, dimension: int) -> MetricLoss:
    """Return the named loss with the terms that the settings add to it.

    Class vectors are drawn from torch's global generator, which the caller seeds.

    Args:
        settings: The loss and its parameters.
        classes: Number of classes; losses without class vectors ignore it.
        dimension: Dimension of the features.

    Raises:
        UserError: The inter term is used with a single class.
    """
    if settings.inter_weight > 0 and classes < 2:
        raise UserError(f"inter_weight needs at least two classes (got {classes}); leave it at 0.0")
    return MetricLoss(LOSSES[settings.name](settings, classes, dimension), settings)


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
    """Return the margin in degrees, the unit of pytorch-metric-learning."""
    return math.degrees(settings.margin_radians)


LOSSES: dict[LossName, Callable[[LossSettings, int, int], nn.Module]] = {
    "softmax": lambda s, c, d: SoftmaxLoss(classes=c, dimension=d),
    "norm_softmax": lambda s, c, d: library.NormalizedSoftmaxLoss(c, d, temperature=1 / s.scale),
    "l_softmax": lambda s, c, d: LargeMarginSoftmax(
        classes=c, dimension=d, angle_factor=s.angle_factor
    ),
    "sphereface": _combined,
    "cosface": lambda s, c, d: library.CosFaceLoss(c, d, margin=s.margin_cosine, scale=s.scale),
    "arcface": lambda s, c, d: ArcFace(c, d, margin=_degrees(s), scale=s.scale),
    "combined_margin": _combined,
    "subcenter_arcface": lambda s, c, d: SubCenterArcFace(
        num_classes=c,
        embedding_size=d,
        margin=_degrees(s),
        scale=s.scale,
        sub_centers=s.subcenters,
    ),
    "triplet": lambda s, c, d: angular_triplet(s.margin_radians),
    "multi_similarity": lambda s, c, d: multi_similarity(),
    "supervised_contrastive": lambda s, c, d: SupervisedContrastiveLoss(
        s.temperature, entropy_weight=s.entropy_weight
    ),
}
