"""Terms beside a loss with class vectors. Axes: N images, D dimensions, C classes, K sub-centres.

Each takes features N x D of any length, class vectors C x K x D of any length, and the class of
each image; it gives a scalar. K is 1 but for subcenter_arcface. v1 is arXiv 1801.07698v1, the
first version of Deng et al., ArcFace.
"""

import math

import torch
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from torch import nn
from torch.nn import functional


def plain_cosine(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the cosines as they are, without scale and margin."""
    return functional.cross_entropy(nearest_cosines(features_ND, vectors_CKD), classes_N)


def intra(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Mean angle of images to the (nearest) vector of their class, in half turns. v1 equation 5."""
    cosines_NC = nearest_cosines(features_ND, vectors_CKD)
    return angles(cosines_NC.gather(1, classes_N[:, None])).mean() / math.pi


def inter(
    features_ND: torch.Tensor, vectors_CKD: torch.Tensor, classes_N: torch.Tensor
) -> torch.Tensor:
    """Minus the mean angle, in half turns, of the images' classes to all others. v1 equation 6.

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
    """In radians. Where a cosine reaches 1 or -1 the gradient is 0: clamp's, since torch 2.14."""
    return torch.acos(cosines.clamp(-1, 1))


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
