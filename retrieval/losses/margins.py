"""Losses over classes that pytorch-metric-learning does not provide.

Like the losses of that library, they take unnormalised features and the class of each image, and
store their class vectors as `W`, D x classes.

Axes: N images, D dimensions.
"""

import math
from functools import partial

import torch
from pytorch_metric_learning import losses as library
from torch import nn
from torch.nn import functional

from retrieval.losses.metric_loss import angles


class SoftmaxLoss(nn.Module):
    """Compute the cross-entropy of a linear layer with bias, on features of any length."""

    def __init__(self, *, classes: int, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, classes)

    @property
    def W(self) -> torch.Tensor:
        """Return the class vectors, D x classes."""
        return self.linear.weight.T

    def forward(self, features_ND: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch, a scalar."""
        return functional.cross_entropy(self.linear(features_ND), classes_N)


class FiniteAngles:
    """Keep the gradients of a library loss finite where a cosine reaches 1 or -1."""

    def get_angles(self, cosines_N: torch.Tensor) -> torch.Tensor:
        """Return the angles in radians."""
        return angles(cosines_N)


class ArcFace(FiniteAngles, library.ArcFaceLoss):  # type: ignore[misc]
    """Compute the library's ArcFace loss with finite gradients."""


class SubCenterArcFace(FiniteAngles, library.SubCenterArcFaceLoss):  # type: ignore[misc]
    """Compute the library's sub-centre ArcFace loss with finite gradients."""


class LargeMarginSoftmax(FiniteAngles, library.LargeMarginSoftmaxLoss):  # type: ignore[misc]
    """Compute large-margin softmax for any margin factor m, not only whole numbers.

    The logit of the true class is |W| |x| cos(m t), extended to fall beyond pi; the other logits
    are |W| |x| cos t.

    The library expands cos(m t) into powers, which needs a whole m and uses NumPy features that are
    being removed, so this class computes the angles instead. Class vectors start as those of a
    linear layer. The library starts them at length sqrt(D), which would give logits in the
    hundreds, because lengths count in this loss.

    Source: Liu et al., Large-Margin Softmax (2016), equations 4 to 6.
    """

    def __init__(self, *, classes: int, dimension: int, angle_factor: float) -> None:
        start = partial(nn.init.uniform_, a=-(dimension**-0.5), b=dimension**-0.5)
        super().__init__(classes, dimension, margin=angle_factor, weight_init_func=start)

    def init_margin(self) -> None:
        """Do nothing, because there are no powers to prepare."""

    def cast_types(self, dtype: torch.dtype, device: torch.device) -> None:
        """Do nothing, because there are no powers to move to a device."""

    def modify_cosine_of_target_classes(self, cosines_N: torch.Tensor) -> torch.Tensor:
        """Return the cosines of the true classes with the margin applied, N."""
        return falling_cosine(self.margin * self.get_angles(cosines_N))


class CombinedMarginLoss(ArcFace):
    """Compute the combined margin loss on unit vectors.

    The logit of the true class is s (cos(m1 t + m2) - m3); the others are s cos t. Here m1 is
    `angle_factor`, m2 is `margin_radians` and m3 is `margin_cosine`.

    Beyond pi the cosine would rise again and reward the worst answers, so the function is extended
    to keep falling: in m1 as in SphereFace, and in m2 as in the library's ArcFace, cos(m1 t) - m2
    sin(m2).

    Source: Deng et al., ArcFace (2019), equation 4.
    """

    def __init__(
        self,
        *,
        classes: int,
        dimension: int,
        scale: float,
        angle_factor: float,
        margin_radians: float,
        margin_cosine: float,
    ) -> None:
        # The library takes the margin in degrees.
        super().__init__(classes, dimension, margin=math.degrees(margin_radians), scale=scale)
        self.angle_factor, self.margin_cosine = angle_factor, margin_cosine

    def modify_cosine_of_target_classes(self, cosines_N: torch.Tensor) -> torch.Tensor:
        """Return the cosines of the true classes with the margins applied, N."""
        rotated_N = self.angle_factor * self.get_angles(cosines_N)
        widened_N = rotated_N + self.margin
        beyond_N = falling_cosine(rotated_N) - self.margin * math.sin(self.margin)
        within = widened_N <= math.pi
        return torch.where(within, torch.cos(widened_N), beyond_N) - self.margin_cosine


def falling_cosine(angles_N: torch.Tensor) -> torch.Tensor:
    """Return the cosine up to pi and a continuous extension that keeps falling beyond it.

    The extension is (-1)^k cos(t) - 2k with k = floor(t / pi).

    Source: Liu et al., SphereFace (2017), equation 7. The factor m of the paper is part of t here
    and need not be a whole number.
    """
    half_rotations = torch.floor(angles_N / math.pi)
    return (1 - 2 * (half_rotations % 2)) * torch.cos(angles_N) - 2 * half_rotations
