"""A loss from its settings."""

import math

from pytorch_metric_learning import losses as library
from torch import nn

from retrieval.losses.angular_terms import angular_triplet
from retrieval.losses.contrastive import SupervisedContrastiveLoss, multi_similarity
from retrieval.losses.margins import CombinedMarginLoss, LargeMarginSoftmax, SoftmaxLoss
from retrieval.losses.metric_loss import MetricLoss
from retrieval.losses.options import check_options
from retrieval.settings import LossSettings


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
