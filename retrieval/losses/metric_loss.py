"""Combine a named loss with additional terms.

Terms take features N x D of any length, class vectors C x K x D of any length, and the class of
each image; they return a scalar. "v1" refers to arXiv 1801.07698v1, the first version of Deng et
al., ArcFace.

Axes: N images, D dimensions, C classes, K sub-centres (1 except for subcenter_arcface), L labels.
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
    """Compute (1 - p) named + p plain cosine + a intra + b inter + c triplet.

    The weights p, a, b and c are those of the settings. Class vectors are parameters of this
    module, so they are part of the optimizer and the checkpoint. Use `factory.build_loss` to create
    it; LossSettings refuse what the named loss does not use.
    """

    def __init__(self, named: nn.Module, settings: LossSettings) -> None:
        super().__init__()
        self.named, self.settings = named, settings
        self.triplet = angular_triplet(settings.triplet_margin_radians)

    @property
    def class_vectors_CD(self) -> torch.Tensor | None:
        """Return the class vectors, C x D, of any length, or None where the loss has none.

        For subcenter_arcface there are C*K, with the sub-centres of a class next to each other.
        """
        vectors_DC: torch.Tensor | None = getattr(self.named, "W", None)
        return None if vectors_DC is None else vectors_DC.T

    def forward(self, features_ND: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of the batch, computed in float32.

        Half precision is not enough, because angles near 0 need all digits.

        Args:
            features_ND: Output of the head, of any length.
            targets: Classes, N; supervised_contrastive also takes labels as 0 and 1, N x L.

        Raises:
            UserError: The named loss does not accept sets of labels.
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
        assert vectors_CD is not None, "LossSettings refuse terms for losses without class vectors"
        subcenters = self.settings.subcenters if self.settings.name == "subcenter_arcface" else 1
        return vectors_CD.reshape(-1, subcenters, vectors_CD.shape[1])

    def _check(self, targets: torch.Tensor) -> None:
        if targets.ndim != 1 and self.settings.name != "supervised_contrastive":
            raise UserError(
                f"{self.settings.name} takes one class per image, not a set of labels; "
                "use supervised_contrastive for sets of labels"
            )


def plain_cosine(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of the cosines, without scale and margin."""
    return functional.cross_entropy(nearest_cosines(features_ND, vectors_CKD), classes_N)


def intra(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Return the mean angle of images to the nearest vector of their class, divided by pi.

    Source: v1, equation 5.
    """
    cosines_NC = nearest_cosines(features_ND, vectors_CKD)
    return angles(cosines_NC.gather(1, classes_N[:, None])).mean() / math.pi


def inter(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Return minus the mean angle between the images' classes and all others, divided by pi.

    The angle is averaged over all pairs of sub-centres. Features are not used.

    Source: v1, equation 6.
    """
    unit_CKD = functional.normalize(vectors_CKD, dim=2)
    cosines_NKCK: torch.Tensor = torch.tensordot(unit_CKD[classes_N], unit_CKD, dims=([2], [2]))
    angles_NC = angles(cosines_NKCK).mean(dim=(1, 3))
    others_NC = functional.one_hot(classes_N, len(unit_CKD)) == 0
    return -angles_NC[others_NC].mean() / math.pi


def nearest_cosines(features_ND: torch.Tensor, vectors_CKD: torch.Tensor) -> torch.Tensor:
    """Return the cosine of each image with the nearest sub-centre of each class, N x C."""
    unit_ND, unit_CKD = (functional.normalize(v, dim=-1) for v in (features_ND, vectors_CKD))
    cosines_NCK: torch.Tensor = torch.tensordot(unit_ND, unit_CKD, dims=([1], [2]))
    return cosines_NCK.amax(dim=2)


def angles(cosines: torch.Tensor) -> torch.Tensor:
    """Return angles in radians, with a gradient of 0 where a cosine reaches 1 or -1.

    The gradient of `clamp` is 0 there only since torch 2.14; in earlier versions, the gradient of
    acos would be infinite.
    """
    ends = cosines.detach().clamp(-1, 1)
    return torch.acos(torch.where(cosines.abs() < 1, cosines, ends))


class AngularDistance(BaseDistance):  # type: ignore[misc]
    """Compute angles in radians between vectors of any length, for the library's pair losses."""

    def compute_mat(self, query_ND: torch.Tensor, reference_MD: torch.Tensor) -> torch.Tensor:
        """Return the angle of each query to each reference, N x M."""
        return angles(query_ND @ reference_MD.T)


def angular_triplet(margin_radians: float) -> nn.Module:
    """Return the triplet loss on angles.

    It is max(0, angle to a positive + margin - angle to a negative) (v1, equation 7). The mean is
    taken over all triplets of the batch that violate the margin ("batch all", Hermans et al. 2017,
    In Defense of the Triplet Loss); a batch without any gives 0.
    """
    loss: nn.Module = TripletMarginLoss(margin=margin_radians, distance=AngularDistance())
    return loss
