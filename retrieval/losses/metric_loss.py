"""A named loss with the terms added to it.

Terms take features N x D of any length, class vectors C x K x D of any length, and the class of
each image; they return a scalar. v1 is arXiv 1801.07698v1, the first version of Deng et al.,
ArcFace. Axes: N images, D dimensions, C classes, K sub-centres (1 but for subcenter_arcface),
L labels.
"""

import math

import torch
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from torch import nn
from torch.nn import functional

from atlas.core.errors import UserError
from retrieval.settings import LossSettings


class MetricLoss(nn.Module):
    """(1 - p) named + p plain cosine + a intra + b inter + c triplet; the weights are settings'.

    Class vectors are parameters: they belong to the optimizer and the checkpoint. Made by
    `factory.build_loss`, which refuses settings that the named loss cannot honour.
    """

    def __init__(self, named: nn.Module, settings: LossSettings) -> None:
        super().__init__()
        self.named, self.settings = named, settings
        self.triplet = angular_triplet(settings.triplet_margin_radians)

    @property
    def class_vectors_CD(self) -> torch.Tensor | None:
        """C x D, of any length; None where the loss has none.

        subcenter_arcface has C*K, the sub-centres of a class one after the other.
        """
        vectors_DC: torch.Tensor | None = getattr(self.named, "W", None)
        return None if vectors_DC is None else vectors_DC.T

    def forward(self, features_ND: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean over the batch, in float32: an angle near 0 needs all digits.

        features_ND: the head's output, of any length.
        targets: classes N; supervised_contrastive also takes labels N x L of 0 and 1.

        Raises UserError for labels that the named loss cannot take.
        """
        self._check(targets)
        if features_ND.dtype in (torch.float16, torch.bfloat16):
            features_ND = features_ND.float()
        with torch.autocast(features_ND.device.type, enabled=False):
            named: torch.Tensor = self.named(features_ND, targets)
            loss = (1 - self.settings.plain_cosine_weight) * named
            return self._with_angular_terms(loss, features_ND, targets)

    def _with_angular_terms(
        self, loss: torch.Tensor, features_ND: torch.Tensor, classes_N: torch.Tensor
    ) -> torch.Tensor:
        given = self.settings
        for weight, term in (
            (given.plain_cosine_weight, plain_cosine),
            (given.intra_weight, intra),
            (given.inter_weight, inter),
        ):
            if weight > 0:
                loss = loss + weight * term(features_ND, self._vectors_CKD(), classes_N)
        if given.triplet_weight > 0:
            loss = loss + given.triplet_weight * self.triplet(features_ND, classes_N)
        return loss

    def _vectors_CKD(self) -> torch.Tensor:
        vectors_CD = self.class_vectors_CD
        assert vectors_CD is not None, "terms need class vectors, which build_loss sees to"
        subcenters = self.settings.subcenters if self.settings.name == "subcenter_arcface" else 1
        return vectors_CD.reshape(-1, subcenters, vectors_CD.shape[1])

    def _check(self, targets: torch.Tensor) -> None:
        if targets.ndim != 1 and self.settings.name != "supervised_contrastive":
            raise UserError(
                f"{self.settings.name} takes one class per image, not a set of labels; "
                "the loss for label sets is supervised_contrastive"
            )


def plain_cosine(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the cosines as they are, without scale and margin."""
    return functional.cross_entropy(nearest_cosines(features_ND, vectors_CKD), classes_N)


def intra(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Mean angle of images to the (nearest) vector of their class, in half rotations. v1 equation 5."""
    cosines_NC = nearest_cosines(features_ND, vectors_CKD)
    return angles(cosines_NC.gather(1, classes_N[:, None])).mean() / math.pi


def inter(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Minus the mean angle, in half rotations, of the images' classes to all others. v1 equation 6.

    Over all pairs of their sub-centres; features play no part.
    """
    unit_CKD = functional.normalize(vectors_CKD, dim=2)
    cosines_NKCK: torch.Tensor = torch.tensordot(unit_CKD[classes_N], unit_CKD, dims=([2], [2]))
    angles_NC = angles(cosines_NKCK).mean(dim=(1, 3))
    others_NC = functional.one_hot(classes_N, len(unit_CKD)) == 0
    return -angles_NC[others_NC].mean() / math.pi


def nearest_cosines(features_ND: torch.Tensor, vectors_CKD: torch.Tensor) -> torch.Tensor:
    """Cosine of each image with the nearest of each class's sub-centres, N x C."""
    unit_ND, unit_CKD = (functional.normalize(v, dim=-1) for v in (features_ND, vectors_CKD))
    cosines_NCK: torch.Tensor = torch.tensordot(unit_ND, unit_CKD, dims=([1], [2]))
    return cosines_NCK.amax(dim=2)


def angles(cosines: torch.Tensor) -> torch.Tensor:
    """Return angles in radians, with gradient 0 where a cosine reaches 1 or -1.

    The gradient of `clamp` is 0 there only since torch 2.14; before, that of acos is infinite.
    """
    ends = cosines.detach().clamp(-1, 1)
    return torch.acos(torch.where(cosines.abs() < 1, cosines, ends))


class AngularDistance(BaseDistance):  # type: ignore[misc]
    """Angle in radians between vectors of any length, for the library's losses over pairs."""

    def compute_mat(self, query_ND: torch.Tensor, reference_MD: torch.Tensor) -> torch.Tensor:
        return angles(query_ND @ reference_MD.T)


def angular_triplet(margin_radians: float) -> nn.Module:
    """max(0, angle to a positive + margin - angle to a negative), v1 equation 7.

    Over all triplets of the batch, averaged over those that break the margin ("batch all", Hermans
    et al. 2017, In Defense of the Triplet Loss); a batch without any gives 0.
    """
    loss: nn.Module = TripletMarginLoss(margin=margin_radians, distance=AngularDistance())
    return loss
